/** Elements made of data: text is always text, never HTML. */

/**
 * @param {string} name of the element, with its classes: "p.facts"
 * @param {Record<string, unknown>} [attributes] "onclick" and the like are listeners
 * @param {...(Node|string|null)} children
 */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button that says what it does. */
export function button(text, onclick, kind = "") {
  return make(kind ? `button.${kind}` : "button", { type: "button", onclick }, text);
}

/** A table of a head and rows; all but the first column are numbers. */
export function table(head, rows, caption) {
  const kind = (index) => (index ? ".number" : "");
  return make(
    "table",
    {},
    caption ? make("caption.quiet", {}, caption) : null,
    make("thead", {}, make("tr", {}, ...head.map((text, i) => make(`th${kind(i)}`, { scope: "col" }, text)))),
    make(
      "tbody",
      {},
      ...rows.map(([name, ...cells]) =>
        make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td.number", {}, cell))),
      ),
    ),
  );
}
