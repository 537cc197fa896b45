/** What is painted by hand into a chart: hypnograms, and the probabilities of stages. */

import { EPOCH, STAGES, runs } from "./format.js";
import { colour } from "./theme.js";

const THICK = 5; // px
const BOLD = 11; // px: REM is drawn boldly, as it has always been
const BESIDE = 9; // px below: the other reading of the same night

const palette = () => Object.fromEntries(STAGES.map((name) => [name, colour(name)]));

/** Steps from stage to stage; where nothing is known there is a gap. */
export function paintHypnogram(chart, epochs, beside) {
  const colours = palette();
  const thin = { ink: () => colour("quiet"), height: () => 2, drop: BESIDE };
  const full = { ink: (stage) => colours[stage], height: (stage) => (stage === "rem" ? BOLD : THICK), drop: 0 };
  within(chart, () => {
    paintSteps(chart, runs(beside), thin);
    paintSteps(chart, runs(epochs), full);
  });
}

function paintSteps(chart, stretches, style) {
  const { ctx } = chart;
  const riser = colour("quiet");
  let before = null;
  for (const { stage, begin, end } of stretches) {
    const level = STAGES.indexOf(stage);
    if (level < 0) {
      before = null;
      continue;
    }
    const middle = chart.valToPos(3.5 - level, "y", true) + style.drop * devicePixelRatio;
    const [left, right] = edges(chart, begin, end);
    const height = style.height(stage) * devicePixelRatio;
    if (before !== null) {
      ctx.fillStyle = riser;
      ctx.fillRect(left, Math.min(before, middle), devicePixelRatio, Math.abs(middle - before));
    }
    ctx.fillStyle = style.ink(stage);
    ctx.fillRect(left, Math.round(middle - height / 2), right - left, height);
    before = middle;
  }
}

/** Probabilities stacked, deep at the bottom as in the hypnogram. */
export function paintProbabilities(chart, epochs) {
  const colours = palette();
  const height = (share) => chart.valToPos(share, "y", true);
  within(chart, () => {
    for (const epoch of epochs.filter(({ stage }) => stage !== "unscored")) {
      const [left, right] = edges(chart, epoch.time, epoch.time + EPOCH);
      let sum = 0;
      for (const name of STAGES.toReversed()) {
        const share = epoch.probabilities[name] ?? 0;
        chart.ctx.fillStyle = colours[name];
        chart.ctx.fillRect(left, height(sum + share), right - left, height(sum) - height(sum + share) + 1);
        sum += share;
      }
    }
  });
}

/** Left and right on whole pixels, so that neighbours leave no seam. */
function edges(chart, begin, end) {
  const [left, right] = [begin, end].map((time) => Math.round(chart.valToPos(time, "x", true)));
  return [left, Math.max(right, left + 1)];
}

function within({ ctx, bbox }, paint) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  paint();
  ctx.restore();
}
