/** Light and dark: as the system has it, until a button overrides it. */

const KEY = "sleepstage-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const current = () => localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");

/** Set the theme, and call `onchange` whenever it changes. */
export function setUpTheme(control, onchange) {
  const show = () => {
    document.documentElement.dataset.theme = current();
    control.textContent = current() === "dark" ? "Light" : "Dark";
    control.setAttribute("aria-label", `${control.textContent} colours`);
    onchange();
  };
  control.addEventListener("click", () => {
    localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** A colour of the theme, by its name in the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
