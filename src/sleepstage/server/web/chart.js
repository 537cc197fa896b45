/** The charts of a night, on one axis of time, with one cursor that reads out all of them. */

import { make, setText } from "./dom.js";
import { STAGES, clock, epochName, percent, stageName } from "./format.js";
import { columns, panels } from "./panels.js";
import uPlot from "./vendor/uPlot.esm.js";

const HINT = "Point at the charts, or walk through them with the arrow keys, to read out values.";
const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };

/**
 * Draw a night; `update` draws it again with other epochs, `beside` being another reading of it.
 *
 * @returns {{element: HTMLElement, redraw: () => void, destroy: () => void,
 *   update: (epochs: object[], beside: object[], start: number) => void}}
 */
export function nightCharts() {
  const shown = { epochs: [], beside: [], start: 0 };
  const readout = make("p.readout", { "aria-hidden": "true" }, HINT);
  const slider = make("div.charts", { tabindex: "0", role: "slider", "aria-label": "Time of night" });
  const plots = panels(shown).map(({ title, height, options }) => {
    const box = make("div.chart", {}, make("p.caption", {}, title));
    slider.append(box);
    options.hooks.setCursor = [(chart) => point(chart.cursor.idx)];
    return { plot: new uPlot({ width: 300, ...options }, columns([]), box), height };
  });
  const element = make("figure", { "aria-label": "Charts of the night" }, legend(), readout, slider);
  let at = null;

  function point(index) {
    at = index ?? null;
    const epoch = shown.epochs[at];
    const words = epoch ? describe(epoch, shown.start) : "";
    setText(readout, words || HINT);
    slider.setAttribute("aria-valuenow", at ?? 0);
    slider.setAttribute("aria-valuetext", words || "no time chosen");
  }

  function walk(event) {
    if (!(event.key in STEPS) || !shown.epochs.length) return;
    event.preventDefault();
    const last = shown.epochs.length - 1;
    const index = Math.min(Math.max((at ?? last) + STEPS[event.key], 0), last);
    for (const { plot } of plots) {
      plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: 1 });
    }
  }

  const watcher = new ResizeObserver(() =>
    plots.forEach(({ plot, height }) => plot.setSize({ width: slider.clientWidth || 300, height })),
  );
  watcher.observe(slider);
  slider.addEventListener("keydown", walk);
  point(null);
  return {
    element,
    update(epochs, beside, start) {
      Object.assign(shown, { epochs, beside, start });
      slider.setAttribute("aria-valuemin", 0);
      slider.setAttribute("aria-valuemax", Math.max(epochs.length - 1, 0));
      plots.forEach(({ plot }) => plot.setData(columns(epochs)));
    },
    redraw: () => plots.forEach(({ plot }) => plot.redraw()),
    destroy() {
      watcher.disconnect();
      plots.forEach(({ plot }) => plot.destroy());
    },
  };
}

function legend() {
  const marks = STAGES.map((name) => make("li", {}, make("i.mark", { "data-stage": name }), stageName(name)));
  return make("ul.legend", {}, ...marks);
}

function describe(epoch, start) {
  const parts = [clock(epoch.time, start), epochName(epoch)];
  if (epoch.stage !== "unscored") {
    const share = (name) => `${stageName(name)} ${percent(epoch.probabilities[name])}`;
    parts.push(STAGES.map(share).join(", "), `confidence ${percent(epoch.confidence)}`);
  }
  if (epoch.heart_rate != null) parts.push(`${Math.round(epoch.heart_rate)} bpm`);
  if (epoch.activity != null) parts.push(`activity ${Math.round(epoch.activity)}`);
  return parts.join(" · ");
}
