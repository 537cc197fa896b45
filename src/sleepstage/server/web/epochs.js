/** All epochs of a night as a table, for who can't see the charts; made once it is opened. */

import { make, rowOf, table } from "./dom.js";
import { STAGES, clock, epochName, percent, stageName } from "./format.js";

const HEAD = ["Time", "Stage", ...STAGES.map(stageName), "Confidence", "bpm", "Activity"];

/** @returns {{element: HTMLElement, draw: (epochs: object[], start: number) => void}} */
export function epochsPart() {
  const element = make("details", {}, make("summary", {}, "All epochs as a table"));
  let [given, from] = [[], 0];
  let [body, drawn, count] = [null, null, 0];

  function fill() {
    if (!element.open) return;
    if (drawn !== given || count > given.length) {
      const whole = table(HEAD, []);
      body = whole.tBodies[0];
      element.querySelector(".scroll")?.remove();
      element.append(make("div.scroll", { tabindex: "0", role: "region", "aria-label": "All epochs" }, whole));
      [drawn, count] = [given, 0];
    }
    body.append(...given.slice(count).map((epoch) => rowOf(cells(epoch, from))));
    count = given.length;
  }

  element.addEventListener("toggle", fill);
  return {
    element,
    draw(epochs, start) {
      [given, from] = [epochs, start];
      fill();
    },
  };
}

function cells(epoch, start) {
  const known = (value) => (value == null ? "–" : String(Math.round(value)));
  const scored = epoch.stage !== "unscored";
  return [
    clock(epoch.time, start),
    epochName(epoch),
    ...STAGES.map((name) => (scored ? percent(epoch.probabilities[name]) : "–")),
    scored ? percent(epoch.confidence) : "–",
    known(epoch.heart_rate),
    known(epoch.activity),
  ];
}
