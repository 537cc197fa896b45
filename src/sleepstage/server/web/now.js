/** What is now: the stage in very large letters, how sure it is, and when it was last heard. */

import { since } from "./api.js";
import { make, setText } from "./dom.js";
import { duration, epochName, percent, roughly, runs } from "./format.js";

const SILENT = 120; // s after which the stage is no longer what is now

const WHY = {
  not_worn: "the watch lies still and finds no heart rate",
  no_data: "neither heart rate nor motion comes",
};

/** @returns {{element: HTMLElement, draw: (night: object, reading: object) => void,
 *   tick: (night: object) => void}} */
export function nowPart() {
  const stage = make("p.stage", { "aria-live": "polite" });
  const facts = make("p.facts");
  const heard = make("p.heard");
  return {
    element: make("section.now", { "aria-label": "Now" }, stage, facts, heard),
    draw({ session }, { epochs, statistics }) {
      const last = session.closed ? null : epochs.at(-1);
      stage.dataset.stage = last?.stage ?? "";
      setText(stage, headline(session, last, statistics));
      setText(facts, explanation(session, epochs, statistics));
    },
    tick({ session }) {
      const seconds = since(session.heard);
      const silent = !session.closed && seconds > SILENT;
      stage.classList.toggle("stale", silent);
      heard.classList.toggle("problem", silent);
      setText(heard, session.closed ? "" : `Last heard ${roughly(seconds)} ago`);
    },
  };
}

function headline(session, last, statistics) {
  if (session.closed) return duration(statistics.total_sleep_time);
  return last ? epochName(last) : "Waiting";
}

function explanation(session, epochs, statistics) {
  if (session.closed) return `asleep, of ${duration(statistics.time_in_bed)} in bed. The night is over.`;
  const last = epochs.at(-1);
  if (!last) return "for the first 30 seconds of samples";
  const { begin, end } = runs(epochs).at(-1);
  const lasted = `for ${duration((end - begin) / 60)}`;
  if (last.stage === "unscored") return `${lasted}: ${WHY[last.reason] ?? "too little is measured"}`;
  const share = percent(last.probabilities[last.stage]);
  return `${lasted} · probability ${share}, confidence ${percent(last.confidence)}`;
}
