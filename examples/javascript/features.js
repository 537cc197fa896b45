// Heart rate, motion summaries and steps to one row of numbers per 30 s epoch.
//
// The same as src/sleepstage/engine/features.py, one epoch at a time; docs/edge.md has it in words. A
// row is made at its epoch's end from what was known by then. What is not known is NaN.
//
// A signal is { times, values }: seconds, ascending, and what was measured at them. A value of
// motion is the summary of 15 s, [counts, peak_x_g, peak_y_g, peak_z_g], stamped with its end.

export const EPOCH_SECONDS = 30;

const MINUTE = 60;
const HOUR = 3600;
const DAY = 24 * HOUR;
const EPOCHS_PER_HOUR = HOUR / EPOCH_SECONDS;
const MEMORY = 30 * MINUTE; // s of heart rate and motion that are looked back on
const N_LEVELS = 1200; // epochs whose heart rate makes the baseline
const AT_REST = 8; // bpm above the floor
const N_CALM = 960; // epochs whose calm is remembered
const CALM_SHARE = 0.1; // of windows with movement
const UP_EPOCHS = 20; // without calm, one after the other: somebody is up
const N_UP = 900; // epochs in which that is looked for
const TURN_FLOOR = 1e-3; // g, about the noise of a watch that lies still
const WINDOW = 15; // s of a summary
const COVERED = 0.8; // of a stretch have to be known to tell that nothing moved in it
const PATIENCE = 300; // s that a heart rate may be overdue
const DRIFT = 4e-3; // g
const DRIFT_UNSEEN = 1.8e-3; // g
const TRACE_LENGTH = 30;
const TRACE_STEP = 10; // s
const TRACE_AGE = 20; // s for which a heart rate holds

/** State at the start of a night: all that is remembered besides the samples. */
export function beginNight(start) {
  return {
    start, // of the first epoch, in seconds on the clock of the samples
    nEpochs: 0, // closed so far
    levels: [], // mean heart rate of each of the last epochs, NaN where there was none
    calm: [], // of each of the last epochs: 1 calm, -1 not, 0 where there was no motion
    lastMovement: NaN, // time of the last summary with an activity count
    lastSteps: NaN, // time of the last sample of steps
    lastWalk: NaN, // and of the last with any
  };
}

/**
 * Features of the next epoch by their names, and the state after it.
 *
 * Samples later than the epoch's end are not looked at, so they may be there or not. Heart rate and
 * motion older than 30 minutes, and steps of closed epochs, are not needed any more.
 */
export function closeEpoch(state, { heartRate, motion, steps }) {
  const now = state.start + (state.nEpochs + 1) * EPOCH_SECONDS;
  const nEpochs = state.nEpochs + 1;
  const [ofHeartRate, levels] = heartRateFeatures(state, heartRate, now);
  const [ofMotion, lastMovement] = motionFeatures(state, motion, now);
  const calm = [...state.calm, calmness(motion, now)].slice(-N_CALM);
  const before = between(steps, -Infinity, now);
  const lastSteps = before.times.at(-1) ?? state.lastSteps;
  const lastWalk = before.times.filter((_, at) => before.values[at] > 0).at(-1) ?? state.lastWalk;
  const features = {
    ...ofHeartRate,
    ...ofMotion,
    ...restFeatures(calm, nEpochs),
    since_walk: sinceWalk(now - lastSteps, now - lastWalk),
  };
  const { start } = state;
  return [features, { start, nEpochs, levels, calm, lastMovement, lastSteps, lastWalk }];
}

/** Why an epoch can't be staged: "no_data", "not_worn", or "" where it can. */
export function unscoredReason(features) {
  // The package has its features in single precision.
  const { hr_overdue: overdue, drift_5m: five, drift_15m: fifteen } = Object.fromEntries(
    Object.entries(features).map(([name, value]) => [name, Math.fround(value)]),
  );
  const unseen = Number.isNaN(overdue);
  if (!unseen && overdue <= PATIENCE) {
    return "";
  }
  if (features.motion_windows_5m === 0) {
    return "no_data";
  }
  const limit = unseen ? DRIFT_UNSEEN : DRIFT;
  const steady = five <= Math.fround(limit) || fifteen <= Math.fround(DRIFT);
  return features.counts_5m === 0 && steady ? "not_worn" : "";
}

function heartRateFeatures(state, heartRate, now) {
  const recent = between(heartRate, now - MEMORY, now);
  const last = (minutes) =>
    recent.values.slice(firstFrom(recent.times, now - minutes * MINUTE));

  const newest = recent.times.at(-1) ?? NaN;
  const gaps = differences(recent.times);
  const level = mean(last(0.5));
  const levels = [...state.levels, level].slice(-N_LEVELS);
  const { floor, resting, rested } = baseline(levels);
  const features = {
    hr_30s: level,
    hr_sd_2m: spread(last(2)),
    hr_sd_10m: spread(last(10)),
    hr_step_sd_5m: spread(differences(last(5))),
    hr_1m_vs_10m: mean(last(1)) - mean(last(10)),
    hr_5m_vs_30m: mean(last(5)) - mean(last(30)),
    hr_1m_vs_rest: mean(last(1)) - resting,
    hr_10m_vs_rest: mean(last(10)) - resting,
    hr_floor_10h: floor,
    hr_rest_10h: rested,
    hr_samples_1m: last(1).length,
    hr_age: Math.log1p(now - newest),
    hr_overdue: now - newest - (gaps.length ? mean(gaps) : 0),
    ...trace(recent, now),
  };
  return [features, levels];
}

/** Floor of the levels, the median of those near it, and how many hours these are. */
function baseline(levels) {
  const sorted = levels.filter((level) => !Number.isNaN(level)).sort((one, other) => one - other);
  if (!sorted.length) {
    return { floor: NaN, resting: NaN, rested: NaN };
  }
  const floor = sorted[Math.floor(0.05 * (sorted.length - 1))];
  const n = firstAfter(sorted, floor + AT_REST);
  const resting = (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2;
  return { floor, resting, rested: n / EPOCHS_PER_HOUR };
}

/** Last heart rate before the end of each step, if it is young enough, less their mean. */
function trace(recent, now) {
  const held = Array.from({ length: TRACE_LENGTH }, (_, number) => {
    const end = now - TRACE_STEP * (TRACE_LENGTH - 1 - number);
    const newest = firstFrom(recent.times, end) - 1;
    return newest >= 0 && end - recent.times[newest] <= TRACE_AGE ? recent.values[newest] : NaN;
  });
  const middle = mean(held.filter((value) => !Number.isNaN(value)));
  return Object.fromEntries(
    held.map((value, number) => [
      `hr_trace_${String(number).padStart(2, "0")}`,
      value - middle,
    ]),
  );
}

function motionFeatures(state, motion, now) {
  // A summary is stamped with its window's end: one at the epoch's end belongs to it.
  const first = firstAfter(motion.times, now - MEMORY);
  const end = firstAfter(motion.times, now);
  const times = motion.times.slice(first, end);
  const summaries = motion.values.slice(first, end);
  const counts = summaries.map((summary) => Math.log1p(summary[0]));
  const peaks = summaries.map((summary) => summary.slice(1));
  const turns = peaks
    .slice(1)
    .map((peak, at) => sum(peak.map((value, axis) => Math.abs(value - peaks[at][axis]))));

  const since = (minutes) => firstAfter(times, now - minutes * MINUTE);
  // Not further back than the first summary there is to compare with.
  const turning = (minutes) =>
    Math.log(mean(turns.slice(Math.max(since(minutes) - 1, 0))) + TURN_FLOOR);

  // How far the peaks before the newest are apart, NaN where too little is known.
  const drift = (minutes) => {
    const known = peaks.slice(firstAfter(times, times.at(-1) - minutes * MINUTE));
    const ranges = [0, 1, 2].map((axis) => {
      const values = known.map((peak) => peak[axis]);
      return Math.max(...values) - Math.min(...values);
    });
    const covered = known.length * WINDOW >= COVERED * minutes * MINUTE;
    return covered && now - times.at(-1) <= 5 * MINUTE ? sum(ranges) : NaN;
  };

  const epoch = since(0.5);
  const moved = motion.times.filter((_, at) => at < end && motion.values[at][0] > 0);
  const lastMovement = moved.at(-1) ?? state.lastMovement;
  const stillSince = Number.isNaN(lastMovement) ? state.start : lastMovement;
  const twenty = counts.slice(since(20));
  const features = {
    counts_30s: mean(counts.slice(epoch)),
    counts_5m: mean(counts.slice(since(5))),
    counts_max_20m: twenty.length ? Math.max(...twenty) : NaN,
    still: times.length ? Math.log1p((now - stillSince) / MINUTE) : NaN,
    posture_30s: epoch < times.length ? turning(0.5) : NaN,
    posture_5m: since(5) < times.length ? turning(5) : NaN,
    peak_length: mean(peaks.slice(epoch).map((peak) => Math.hypot(...peak))),
    motion_windows_5m: times.length - since(5),
    drift_5m: drift(5),
    drift_15m: drift(15),
  };
  return [features, lastMovement];
}

/** 1 if hardly any window of the last ten minutes has movement, -1 if not, 0 if there is none. */
function calmness(motion, now) {
  const first = firstAfter(motion.times, now - 10 * MINUTE);
  const windows = motion.values.slice(first, firstAfter(motion.times, now));
  const share = mean(windows.map(([counts]) => Number(counts > 0)));
  return Number.isNaN(share) ? 0 : share <= CALM_SHARE ? 1 : -1;
}

function restFeatures(calm, nEpochs) {
  if (calm.at(-1) === 0) {
    return { calm_2h: NaN, calm_8h: NaN, since_up: NaN };
  }
  const hours = (epochs) => calm.slice(-epochs).filter((one) => one === 1).length / EPOCHS_PER_HOUR;
  let sinceUp = Math.min(nEpochs, N_UP);
  for (let run = 0, at = 0; at < calm.length; at++) {
    run = calm[at] === -1 ? run + 1 : 0;
    if (run >= UP_EPOCHS) {
      sinceUp = Math.min(calm.length - 1 - at, nEpochs, N_UP);
    }
  }
  return { calm_2h: hours(240), calm_8h: hours(N_CALM), since_up: sinceUp / EPOCHS_PER_HOUR };
}

/** Of seconds since the newest sample of steps, and since the last that had any. */
function sinceWalk(seen, walked) {
  if (!(seen <= DAY)) {
    return NaN;
  }
  return Math.log1p(Math.min(Number.isNaN(walked) ? DAY : walked, DAY) / MINUTE);
}

// Samples

/** Number of the first time that is `when` or later; as many as there are if none is. */
function firstFrom(times, when) {
  return firstThat(times, (time) => time >= when);
}

/** Number of the first time that is later than `when`. */
function firstAfter(times, when) {
  return firstThat(times, (time) => time > when);
}

/** By bisection: what holds for one time holds for all later ones. */
function firstThat(times, holds) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(times[middle])) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/** Samples with start <= time < end. */
function between({ times, values }, start, end) {
  const [first, last] = [firstFrom(times, start), firstFrom(times, end)];
  return { times: times.slice(first, last), values: values.slice(first, last) };
}

// Numbers

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** NaN of nothing, as 0 / 0 is. */
function mean(values) {
  return sum(values) / values.length;
}

function differences(values) {
  return values.slice(1).map((value, at) => value - values[at]);
}

/** Standard deviation, divided by n and not by n - 1. */
function spread(values) {
  const middle = mean(values);
  return values.length >= 3 ? Math.sqrt(mean(values.map((value) => (value - middle) ** 2))) : NaN;
}
