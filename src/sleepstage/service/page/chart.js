/** The night on one axis of time: hypnogram, hypnodensity, heart rate, activity, confidence. */

import { make } from "./dom.js";
import { STAGES, clock, percent, stageName } from "./format.js";
import { colour } from "./theme.js";
import uPlot from "./vendor/uPlot.esm.js";

const EPOCH = 30; // s
const LEFT = 64; // px, so that all charts begin at the same place
const TICKS = [300, 600, 900, 1800, 3600, 7200, 10800, 14400];

/**
 * Draw a night; `update` draws it again with other epochs.
 *
 * @returns {{element: HTMLElement, update: (epochs: object[], start: number) => void,
 *   redraw: () => void, destroy: () => void}}
 */
export function nightCharts() {
  let epochs = [];
  let start = 0;
  const readout = make("p.readout.quiet", { "aria-hidden": "true" });
  const legend = make("ul.legend", {}, ...STAGES.map((name) => make("li", { "data-stage": name }, stageName(name))));
  const element = make("figure", {}, legend, readout);
  const charts = panels(() => epochs, () => start).map(({ title, height, options }) => {
    const box = make("div.chart", {}, make("figcaption", {}, title));
    element.append(box);
    options.hooks.setCursor = [(chart) => (readout.textContent = describe(epochs[chart.cursor.idx], start))];
    return { plot: new uPlot({ width: 300, height, ...options }, columns([]), box), height };
  });
  const fit = () => charts.forEach(({ plot, height }) => plot.setSize({ width: element.clientWidth || 300, height }));
  const watcher = new ResizeObserver(fit);
  watcher.observe(element);
  return {
    element,
    update(newEpochs, newStart) {
      [epochs, start] = [newEpochs, newStart];
      charts.forEach(({ plot }) => plot.setData(columns(epochs)));
    },
    redraw: () => charts.forEach(({ plot }) => plot.redraw()),
    destroy() {
      watcher.disconnect();
      charts.forEach(({ plot }) => plot.destroy());
    },
  };
}

/** What uPlot draws: a column of times, and one for each signal. */
function columns(epochs) {
  const column = (read) => epochs.map(read);
  return [
    column((epoch) => epoch.time),
    column((epoch) => epoch.heart_rate ?? null),
    column((epoch) => epoch.activity ?? null),
    column((epoch) => (epoch.stage === "unscored" ? null : epoch.confidence)),
  ];
}

function describe(epoch, start) {
  if (!epoch) return "";
  const shares = STAGES.map((name) => `${stageName(name)} ${percent(epoch.probabilities[name])}`).join(", ");
  const parts = [clock(epoch.time, start), stageName(epoch.stage)];
  if (epoch.stage !== "unscored") parts.push(shares);
  if (epoch.heart_rate != null) parts.push(`${Math.round(epoch.heart_rate)} bpm`);
  return parts.join(" · ");
}

function panels(epochs, start) {
  const levels = [0, 4];
  const stages = (_, splits) => splits.map((level) => (level % 1 ? stageName(STAGES[3.5 - level]) : ""));
  const whole = (splits) => splits.map((value) => (value == null ? "" : String(value)));
  const shares = (_, splits) => splits.map((value) => percent(value));
  return [
    panel("Hypnogram", 150, start, {
      range: levels,
      splits: [0.5, 1.5, 2.5, 3.5],
      values: stages,
      paint: (chart) => paintStages(chart, epochs()),
    }),
    panel("Probability of each stage", 110, start, {
      range: [0, 1],
      splits: [0, 0.5, 1],
      values: shares,
      paint: (chart) => paintShares(chart, epochs()),
    }),
    panel("Heart rate (beats per minute)", 100, start, { series: 1, ink: "alarm", values: (_, s) => whole(s) }),
    panel("Activity (counts in 30 s)", 84, start, { series: 2, ink: "ink", values: (_, s) => whole(s), floor: 0 }),
    panel("Confidence", 90, start, { series: 3, ink: "accent", range: [0, 1], splits: [0, 0.5, 1], values: shares, clock: true }),
  ];
}

/** Options of one chart. Without a series of its own it is painted by hand. */
function panel(title, height, start, given) {
  const stroke = () => colour("quiet");
  const grid = { stroke: () => colour("line"), width: 1 };
  const line = (index) => ({
    show: index === given.series,
    stroke: () => colour(given.ink ?? "ink"),
    width: 1.5,
    points: { show: false },
  });
  const widest = (_, low, high) => [given.floor ?? Math.floor((low ?? 40) - 2), Math.ceil((high ?? 80) + 2)];
  return {
    title,
    height: height + (given.clock ? 26 : 0),
    options: {
      legend: { show: false },
      padding: [6, 8, given.clock ? 0 : 6, 0],
      cursor: { sync: { key: "night" }, drag: { x: false, y: false }, y: false, points: { show: false } },
      scales: {
        x: { time: false, range: (_, low, high) => [low ?? 0, Math.max((high ?? 0) + EPOCH, (low ?? 0) + 1800)] },
        y: { range: given.range ?? widest },
      },
      axes: [
        {
          stroke,
          grid,
          ticks: { show: false },
          size: given.clock ? 26 : 0,
          incrs: TICKS,
          space: 90,
          values: (_, splits) => splits.map((time) => (given.clock ? clock(time, start()) : "")),
        },
        {
          stroke,
          grid,
          ticks: { show: false },
          size: LEFT,
          values: given.values,
          ...(given.splits ? { splits: given.splits } : { space: 28 }),
        },
      ],
      series: [{}, ...[1, 2, 3].map(line)],
      hooks: given.paint ? { draw: [given.paint] } : {},
    },
  };
}

/** Call with each stretch's left edge and width on the canvas. */
function eachEpoch(chart, epochs, paint) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const epoch of epochs) {
    const left = Math.floor(chart.valToPos(epoch.time, "x", true));
    const right = Math.ceil(chart.valToPos(epoch.time + EPOCH, "x", true));
    paint(ctx, epoch, left, right - left);
  }
  ctx.restore();
}

function paintStages(chart, epochs) {
  const colours = Object.fromEntries(STAGES.map((name) => [name, colour(name)]));
  const [ink, thick] = [colour("quiet"), 5 * devicePixelRatio];
  const height = (stage) => chart.valToPos(3.5 - STAGES.indexOf(stage), "y", true);
  let before = null;
  eachEpoch(chart, epochs, (ctx, epoch, left, width) => {
    if (epoch.stage === "unscored") {
      before = null;
      return;
    }
    const [from, to] = [before ?? height(epoch.stage), height(epoch.stage)];
    ctx.fillStyle = ink;
    ctx.fillRect(left, Math.min(from, to), Math.max(1, devicePixelRatio), Math.abs(to - from));
    const bold = epoch.stage === "rem" ? 2 * thick : thick; // REM is drawn boldly, as it has always been
    ctx.fillStyle = colours[epoch.stage];
    ctx.fillRect(left, to - bold / 2, width, bold);
    before = to;
  });
}

function paintShares(chart, epochs) {
  const order = [...STAGES].reverse();
  const colours = Object.fromEntries(STAGES.map((name) => [name, colour(name)]));
  eachEpoch(chart, epochs, (ctx, epoch, left, width) => {
    let sum = 0;
    for (const name of order) {
      const share = epoch.probabilities[name];
      if (share == null) return;
      const [low, high] = [chart.valToPos(sum, "y", true), chart.valToPos(sum + share, "y", true)];
      ctx.fillStyle = colours[name];
      ctx.fillRect(left, high, width, low - high + 1);
      sum += share;
    }
  });
}
