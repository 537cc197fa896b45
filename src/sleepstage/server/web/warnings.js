/** Samples that do not count, and how to fix it; samples that do not come. */

import { since } from "./api.js";
import { make, setText } from "./dom.js";
import { EPOCH, clock } from "./format.js";

const NOTHING = 300; // s without a message
const NO_PULSE = 600; // s of epochs without a heart rate

/** @returns {{element: HTMLElement, draw: (session: object) => void}} */
export function warningsPart() {
  const list = make("ul");
  const heading = make("h2", {}, "Warnings about samples");
  const element = make("section.warnings", { "aria-label": "Warnings", hidden: true }, heading, list);
  let shown = "";
  return {
    element,
    draw({ warnings }) {
      const details = warnings.map(({ detail }) => detail);
      if (shown === details.join("\n")) return; // what is being read stays as it is
      shown = details.join("\n");
      list.replaceChildren(...details.map((detail) => make("li", {}, detail)));
      element.hidden = !details.length;
    },
  };
}

/**
 * What does not come from the watch, in words that stay the same until it comes again.
 *
 * @param {{session: object, epochs: object[]}} night
 * @param {number} silent seconds since the watch was last heard
 * @returns {string[]} the same warnings each time, empty where there is nothing to warn of
 */
export function silences({ session, epochs }, silent) {
  if (session.closed) return ["", ""];
  const nothing = `Nothing from the watch for more than ${NOTHING / 60} minutes`;
  return [
    silent > NOTHING ? `${nothing} (last: ${clock(session.heard)}): is it still sending?` : "",
    pulseless(epochs, session.start),
  ];
}

/** By the epochs' clock: a watch that sends nothing at all is another matter. */
function pulseless(epochs, start) {
  if (!epochs.length) return "";
  const last = epochs.findLast((epoch) => epoch.heart_rate != null);
  const from = last ? last.time + EPOCH : epochs[0].time;
  if (epochs.at(-1).time + EPOCH - from < NO_PULSE) return "";
  const known = last ? `last: ${clock(last.time, start)}` : "none so far";
  return `No heart rate for more than ${NO_PULSE / 60} minutes (${known}): does the watch sit tight?`;
}

/** @returns {{element: HTMLElement, tick: (night: object, connected: boolean) => void}} */
export function silencePart() {
  const lines = [make("p"), make("p")];
  // Only the line that changes is read out.
  const element = make("div.silence.problem", { role: "status", "aria-atomic": "false" }, ...lines);
  return {
    element,
    tick(night, connected) {
      const texts = silences(night, connected ? since(night.session.heard) : 0);
      lines.forEach((line, number) => setText(line, texts[number]));
    },
  };
}
