/** A simulated night, played as a watch would: the same interface, the same messages. */

import { Problem, get, request } from "./api.js";

const STEP = 30; // s of the night in a message
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The night that is being played, or null. */
export let playing = null;

/**
 * Open a session and begin to play it.
 *
 * @param {number} speed times real time; Infinity for as fast as it goes
 * @returns {Promise<string>} the session's id
 */
export async function play(speed) {
  playing?.stop();
  const night = await get("/demo");
  const start = 30 * Math.floor((Date.now() / 1000 - night.seconds) / 30);
  const session = await request("POST", "/sessions", { label: "Demo night", start, simulated: true });
  const state = { session: session.id, share: 0, stopped: false, stop: () => (state.stopped = true) };
  playing = state;
  run(state, night, start, speed).catch(console.error).finally(() => playing === state && (playing = null));
  return session.id;
}

async function run(state, night, start, speed) {
  const began = performance.now();
  const count = Math.ceil(night.seconds / STEP);
  for (let number = 0; number < count && !state.stopped; number += 1) {
    const until = (number + 1) * STEP;
    await pause(Math.max(0, (1000 * until) / speed - (performance.now() - began)));
    const message = samples(night, number ? number * STEP : -Infinity, until, start);
    await insist("PUT", `/sessions/${state.session}/messages/demo-${number}`, message, state);
    state.share = (number + 1) / count;
  }
  if (!state.stopped) await insist("POST", `/sessions/${state.session}/close`, {}, state);
}

/** Samples of a stretch of the night, on the clock of today. A summary belongs to its end. */
function samples(night, from, until, start) {
  const within = {
    heart_rate: ([time]) => time >= from && time < until,
    motion: ([time]) => time > from && time <= until,
    steps: ([time]) => time >= from && time < until,
  };
  const names = Object.keys(within);
  return Object.fromEntries(
    names.map((name) => [
      name,
      night[name].filter(within[name]).map(([time, ...values]) => [time + start, ...values]),
    ]),
  );
}

/** Send until it is answered: a message that comes twice changes nothing. */
async function insist(method, path, body, state) {
  while (!state.stopped) {
    try {
      return await request(method, path, body);
    } catch (error) {
      const refused = error instanceof Problem && error.status < 500 && error.status !== 429;
      if (refused) {
        state.stop();
        if (error.status !== 404 && error.status !== 409) throw error; // deleted, or ended by hand
      } else await pause(1000);
    }
  }
  return null;
}
