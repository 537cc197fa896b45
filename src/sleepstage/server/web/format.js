/** Stages, times and shares in words. */

/** From the top of a hypnogram downwards. */
export const STAGES = ["wake", "rem", "light", "deep"];
export const EPOCH = 30; // s
const NAMES = { wake: "Wake", rem: "REM", light: "Light", deep: "Deep", unscored: "Unknown" };
export const SINCE_START = 1e8; // seconds: what is less is no date, but counts from the start

const REASONS = { not_worn: "Not worn", no_data: "No data" };

/** @param {string} stage */
export const stageName = (stage) => NAMES[stage] ?? stage;

/** Its stage, or why it has none. */
export const epochName = ({ stage, reason }) => REASONS[reason] ?? stageName(stage);

/** @param {number|null} minutes */
export function duration(minutes) {
  if (minutes == null) return "–";
  const whole = Math.round(minutes);
  if (whole < 60) return `${whole} min`;
  return `${Math.floor(whole / 60)} h ${String(whole % 60).padStart(2, "0")} min`;
}

/** Time of day; hours and minutes since the start where times are no dates. */
export function clock(time, start = time) {
  if (start < SINCE_START) {
    const minutes = Math.floor((time - start) / 60);
    return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
  }
  return new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** @param {number} time Unix seconds */
export function day(time) {
  const form = { weekday: "short", day: "numeric", month: "short" };
  return new Date(time * 1000).toLocaleDateString([], form);
}

/** Day and time when a session began; when it was opened, if its own times are no dates. */
export function when({ start, created }) {
  const time = start != null && start >= SINCE_START ? start : created;
  return `${day(time)}, ${clock(time)}`;
}

/** @param {number|null} share 0 to 1 */
export const percent = (share) => (share == null ? "–" : `${Math.round(100 * share)} %`);

/** Seconds as a rough length of time. */
export function roughly(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/**
 * Stretches of one stage.
 *
 * @returns {{stage: string, begin: number, end: number}[]} times in seconds
 */
export function runs(epochs) {
  const found = [];
  for (const { stage, time } of epochs) {
    const last = found.at(-1);
    if (last?.stage === stage && last.end === time) last.end = time + EPOCH;
    else found.push({ stage, begin: time, end: time + EPOCH });
  }
  return found;
}
