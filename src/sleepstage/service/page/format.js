/** Stages, times and shares in words. */

/** From the top of a hypnogram downwards. */
export const STAGES = ["wake", "rem", "light", "deep"];
const NAMES = { wake: "Wake", rem: "REM", light: "Light", deep: "Deep", unscored: "Unknown" };
const SINCE_START = 1e8; // seconds: what is less is no date, but counts from the start

/** @param {string} stage */
export const stageName = (stage) => NAMES[stage] ?? stage;

/** @param {number|null} minutes */
export function duration(minutes) {
  if (minutes == null) return "–";
  const whole = Math.round(minutes);
  return whole < 60 ? `${whole} min` : `${Math.floor(whole / 60)} h ${String(whole % 60).padStart(2, "0")} min`;
}

/** Time of day; hours and minutes since the start where times are no dates. */
export function clock(time, start) {
  if (start < SINCE_START) {
    const minutes = Math.floor((time - start) / 60);
    return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
  }
  return new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** @param {number} time Unix seconds */
export function day(time) {
  return new Date(time * 1000).toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" });
}

/** @param {number|null} share 0 to 1 */
export const percent = (share) => (share == null ? "–" : `${Math.round(100 * share)} %`);

/** How long ago, roughly. */
export function ago(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds), 0)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}
