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

/** A button with a label. */
export function button(text, onclick, kind = "") {
  return make(kind ? `button.${kind}` : "button", { type: "button", onclick }, text);
}

/** Change text only where it changes, so that nothing is read out twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table with or without a head; all but the first column are numbers. */
export function table(head, rows) {
  return make("table", {}, head && headOf(head), make("tbody", {}, ...rows.map(rowOf)));
}

function headOf(head) {
  const cells = head.map((text, i) => make(i ? "th.number" : "th", { scope: "col" }, text));
  return make("thead", {}, make("tr", {}, ...cells));
}

/** A row of a table; its first cell names it. */
export function rowOf([name, ...cells]) {
  const numbers = cells.map((cell) => make("td.number", {}, cell));
  return make("tr", {}, make("th", { scope: "row" }, name), ...numbers);
}
