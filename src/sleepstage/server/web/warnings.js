/** Samples that do not count, and how to fix it. */

import { make } from "./dom.js";

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
