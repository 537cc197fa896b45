/** A night as the server has it: read once, then followed as it grows. */

import { get, isPassing, pause } from "./api.js";
import { follow } from "./events.js";

const SOON = 1000; // ms after new epochs that their statistics are asked for
const QUIET = 10000; // ms without epochs after which we ask whether anything was heard

/**
 * @typedef {{time: number, stage: string, probabilities: Record<string, number|null>,
 *   confidence: number, reason?: string, heart_rate?: number|null, activity?: number|null}} Epoch
 * @typedef {{epochs: Epoch[], statistics: object}} Reading
 * @typedef {Reading & {session: object, first: number, night: Reading|null}} Night
 */

/** @returns {Promise<Night>} */
export const readNight = (id) => get(`/sessions/${id}/hypnogram`);

/**
 * Keep a night up to date until it is over or the signal aborts.
 *
 * @param {Night} night changed in place
 * @param {{signal: AbortSignal, onchange: () => void,
 *   onconnection: (connected: boolean) => void}} viewer
 * @throws {Problem} if it is not there any more, or not for us
 */
export async function followNight(night, viewer) {
  const { signal, onchange } = viewer;
  const work = { stale: false };
  const following = follow(night.session.id, {
    signal,
    onconnection: viewer.onconnection,
    count: () => night.first + night.epochs.length,
    onepoch(number, epoch) {
      take(night, number, [epoch]);
      work.stale = true;
      onchange();
    },
    onsession(session) {
      night.session = session;
      work.stale = session.closed;
      onchange();
    },
  });
  await Promise.all([following, keepUp(night, work, viewer)]);
}

/** Ask for what events do not have: statistics, when it was last heard, the night as a whole. */
async function keepUp(night, work, { signal, onchange }) {
  let asked = Date.now();
  while (!signal.aborted && !night.night && !night.problem) {
    await pause(SOON);
    if (!work.stale && Date.now() - asked < QUIET) continue;
    try {
      work.stale = false;
      const path = `/sessions/${night.session.id}/hypnogram?after=${night.first + night.epochs.length}`;
      const { first, epochs, ...rest } = await get(path);
      if (signal.aborted) return;
      take(night, first, epochs);
      Object.assign(night, rest);
      onchange();
    } catch (error) {
      if (!isPassing(error)) throw error;
      work.stale = true;
    }
    asked = Date.now();
  }
}

/** Add epochs from number `first` on; those that are there already stay as they are. */
function take(night, first, epochs) {
  const known = night.first + night.epochs.length - first;
  if (known >= 0) night.epochs.push(...epochs.slice(known));
}

/**
 * The night as it was staged live, or as it was read as a whole once it was over.
 *
 * @param {Night} night
 * @param {boolean} whole
 * @returns {Reading}
 */
export function readingOf(night, whole) {
  if (!whole || !night.night) return night;
  const measured = new Map(night.epochs.map((epoch) => [epoch.time, epoch]));
  const epochs = night.night.epochs.map((epoch) => ({ ...measured.get(epoch.time), ...epoch }));
  return { ...night.night, epochs };
}
