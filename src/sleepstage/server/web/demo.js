/** A simulated night, played as a watch would: the same interface, the same messages. */

import { get, isPassing, pause, request } from "./api.js";
import { button, make, setText } from "./dom.js";
import { EPOCH, percent } from "./format.js";

const AGAIN = 1000; // ms until a message that was not answered is sent again
const DONE = [404, 409]; // deleted, or ended by hand: nothing is left to play

/** The night that is being played, or null. */
let playing = null;

/**
 * Open a session and begin to play it.
 *
 * @param {number} speed times real time; Infinity for as fast as it goes
 * @returns {Promise<string>} the session's id
 */
export async function play(speed) {
  const night = await get("/demo");
  const start = EPOCH * Math.round((Date.now() / 1000 - night.seconds) / EPOCH);
  const session = await request("POST", "/sessions", { label: "Demo night", start, simulated: true });
  if (playing) playing.stopped = true;
  const state = { session: session.id, share: 0, stopped: false, problem: "" };
  playing = state;
  run(state, night, start, speed)
    .catch((error) => (state.problem = error.message))
    .finally(() => (state.stopped = true));
  return session.id;
}

async function run(state, night, start, speed) {
  const began = performance.now();
  const count = Math.ceil(night.seconds / EPOCH);
  for (let number = 0; number < count && !state.stopped; number += 1) {
    const until = (number + 1) * EPOCH;
    await pause(Math.max(0, (1000 * until) / speed - (performance.now() - began)));
    const message = samples(night, number ? number * EPOCH : -Infinity, until, start);
    await insist("PUT", `/sessions/${state.session}/messages/demo-${number}`, message, state);
    state.share = (number + 1) / count;
  }
  if (!state.stopped) await insist("POST", `/sessions/${state.session}/close`, {}, state);
}

/** Samples of a stretch of the night, on the clock of today. A summary belongs to its end. */
function samples(night, from, until, start) {
  const during = ([time]) => time >= from && time < until;
  const ended = ([time]) => time > from && time <= until;
  const today = ([time, ...values]) => [time + start, ...values];
  return {
    heart_rate: night.heart_rate.filter(during).map(today),
    motion: night.motion.filter(ended).map(today),
    steps: night.steps.filter(during).map(today),
  };
}

/** Send until it is answered: a message that comes twice changes nothing. */
async function insist(method, path, body, state) {
  while (!state.stopped) {
    try {
      await request(method, path, body);
      return;
    } catch (error) {
      if (DONE.includes(error.status)) state.stopped = true;
      else if (!isPassing(error)) throw error;
      else await pause(AGAIN);
    }
  }
}

/**
 * How far the demo is, and a button to stop it; empty for nights that are not played here.
 *
 * @returns {{element: HTMLElement, tick: () => void}}
 */
export function player(id) {
  const bar = make("progress", { "aria-label": "Played of the demo", max: 1, value: 0 });
  const share = make("span.quiet");
  const stop = button("Stop playing", () => {
    playing.stopped = true;
    tick();
  });
  const problem = make("p.problem", { role: "alert" });
  const row = make("div.row", {}, bar, share, stop);
  const element = make("div.player", {}, row, problem);

  function tick() {
    const mine = playing?.session === id ? playing : null;
    row.hidden = !mine || mine.stopped;
    bar.value = mine?.share ?? 0;
    setText(share, `${percent(bar.value)} played`);
    setText(problem, mine?.problem ? `The demo has stopped: ${mine.problem}` : "");
  }

  return { element, tick };
}
