/** A smart alarm: when it rings, by the rule of `sleepstage.core.alarm`. Times are Unix seconds. */

import { EPOCH } from "./format.js";

export const WINDOWS = [0, 15, 30, 45]; // minutes
export const SNOOZE = 9; // minutes
export const CLOSED = 60; // s: a page that opens later than that after the deadline has missed it
export const ASLEEP = 1800; // s: so has an open one whose device has slept longer
const RINGS = { wake: "awake", light: "light" };

/**
 * `earliest` and `deadline` as in Python; `rung` says why and since when it rings, and when it did
 * so last; `missed` that it should ring, or go on, and no page was there.
 *
 * @typedef {{earliest: number, deadline: number, snoozed?: boolean, missed?: boolean,
 *   rung?: {why: string, since: number, until: number}}} Alarm
 */

/**
 * Why it rings at `now`: "awake", "light" or "deadline"; empty while it does not.
 *
 * @param {Alarm} alarm
 * @param {number} now
 * @param {{time: number, stage: string}} [newest] the last epoch that was emitted
 */
export function reason({ earliest, deadline }, now, newest) {
  if (now >= deadline) return "deadline";
  if (!newest || newest.time + EPOCH <= earliest || now < earliest) return "";
  return RINGS[newest.stage] ?? "";
}

/**
 * An alarm for the next time that clocks here show `time`.
 *
 * @param {string} time as "07:00"
 * @param {number} minutes the length of the window before it
 * @param {number} now a window that has begun is left from now on
 * @returns {Alarm}
 */
export function alarmAt(time, minutes, now) {
  const [hour, minute] = time.split(":").map(Number);
  const next = new Date(now * 1000);
  next.setHours(hour, minute, 0, 0);
  if (next.getTime() <= now * 1000) {
    next.setDate(next.getDate() + 1);
    next.setHours(hour, minute, 0, 0); // a day earlier it may have been no time of the clock
  }
  const deadline = next.getTime() / 1000;
  return { earliest: Math.max(deadline - 60 * minutes, now), deadline };
}

/** @returns {Alarm} that rings once more, whatever the stage is then */
export function snooze(now) {
  const again = now + 60 * SNOOZE;
  return { earliest: again, deadline: again, snoozed: true };
}

/**
 * The alarm as it is at `now`; the same object if nothing has changed.
 *
 * @param {Alarm} alarm
 * @param {number} now
 * @param {{time: number, stage: string}} [newest]
 * @param {number} late seconds after which it does not ring any more
 * @returns {Alarm}
 */
export function advance(alarm, now, newest, late = ASLEEP) {
  const { rung, missed, deadline } = alarm;
  if (missed) return alarm;
  if (now > (rung?.until ?? deadline) + late) return { ...alarm, missed: true };
  if (rung) return { ...alarm, rung: { ...rung, until: now } };
  const why = reason(alarm, now, newest);
  return why ? { ...alarm, rung: { why, since: now, until: now } } : alarm;
}
