/** What each chart of a night looks like, as options of uPlot. */

import { EPOCH, STAGES, clock, percent, stageName } from "./format.js";
import { paintHypnogram, paintProbabilities } from "./paint.js";
import { colour } from "./theme.js";

const LEFT = 60; // px, so that all charts begin at the same place
const CLOCK = 26; // px
const SHORTEST = 1800; // s of axis, however short the night is yet
const TICKS = [300, 600, 900, 1800, 3600, 7200, 10800, 14400];

/** What uPlot draws: a column of times, in the middle of the epochs, and one for each signal. */
export function columns(epochs) {
  return [
    epochs.map((epoch) => epoch.time + EPOCH / 2),
    epochs.map((epoch) => epoch.heart_rate ?? null),
    epochs.map((epoch) => epoch.activity ?? null),
    epochs.map((epoch) => (epoch.stage === "unscored" ? null : epoch.confidence)),
  ];
}

/**
 * @param {{epochs: object[], beside: object[], start: number}} shown what is shown at the moment
 * @returns {{title: string, height: number, options: object}[]}
 */
export function panels(shown) {
  const named = (_, levels) => levels.map((level) => stageName(STAGES[3.5 - level]));
  const shares = (_, splits) => splits.map(percent);
  const share = { range: [0, 1], splits: [0, 0.5, 1], values: shares };
  return [
    panel("Hypnogram", 190, shown, {
      range: [0, 4],
      splits: [0.5, 1.5, 2.5, 3.5],
      values: named,
      paint: (chart) => paintHypnogram(chart, shown.epochs, shown.beside),
      clock: true,
    }),
    panel("Probability of each stage", 110, shown, {
      ...share,
      paint: (chart) => paintProbabilities(chart, shown.epochs),
    }),
    panel("Heart rate, beats per minute", 100, shown, { series: 1 }),
    panel("Activity, counts in 30 s", 80, shown, { series: 2, floor: 0 }),
    panel("Confidence", 80, shown, { series: 3, ...share, clock: true }),
  ];
}

/** One chart. Without a series of its own it is painted by hand. */
function panel(title, height, shown, given) {
  const axis = { stroke: () => colour("quiet"), ticks: { show: false } };
  const grid = { stroke: () => colour("line"), width: 1 };
  const full = height + (given.clock ? CLOCK : 0);
  const options = {
    height: full,
    legend: { show: false },
    padding: [6, 8, given.clock ? 0 : 6, 0],
    cursor: {
      sync: { key: "night" },
      drag: { x: false, y: false },
      y: false,
      points: { show: false },
    },
    scales: { x: { time: false, range: timeRange }, y: { range: given.range ?? valueRange(given.floor) } },
    axes: [
      {
        ...axis,
        grid,
        size: given.clock ? CLOCK : 0,
        incrs: TICKS,
        space: 90,
        values: (_, splits) => splits.map((time) => (given.clock ? clock(time, shown.start) : "")),
      },
      {
        ...axis,
        grid,
        size: LEFT,
        ...(given.splits ? { splits: given.splits } : { space: 28 }),
        ...(given.values ? { values: given.values } : {}),
      },
    ],
    series: [{}, ...[1, 2, 3].map((index) => line(index === given.series))],
    hooks: given.paint ? { draw: [given.paint] } : {},
  };
  return { title, height: full, options };
}

const line = (show) => ({
  show,
  stroke: () => colour("signal"),
  width: 1.25,
  points: { show: false },
});

function timeRange(_, low, high) {
  const begin = (low ?? 0) - EPOCH / 2;
  return [begin, Math.max((high ?? 0) + EPOCH / 2, begin + SHORTEST)];
}

const valueRange = (floor) => (_, low, high) => [
  floor ?? Math.floor((low ?? 40) - 2),
  Math.ceil((high ?? 80) + 2),
];
