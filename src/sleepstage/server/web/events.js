/** Server-sent events over fetch, which can send a token; connected again whenever it breaks. */

import { Problem, authorization, isPassing, pause } from "./api.js";

const FIRST_WAIT = 500; // ms; doubled each time
const LONGEST_WAIT = 8000;
const SILENCE = 40000; // ms: the server gives a sign of life every 15 s

/**
 * Follow a session until it is over or the signal aborts.
 *
 * @param {string} id of the session
 * @param {{count: () => number, onepoch: (number: number, epoch: object) => void,
 *   onsession: (session: object) => void, onconnection: (connected: boolean) => void,
 *   signal: AbortSignal}} follower count() is the number of epochs that it has
 * @throws {Problem} if the session is not there any more, or not for us
 */
export async function follow(id, follower) {
  let wait = FIRST_WAIT;
  while (!follower.signal.aborted) {
    try {
      const over = await listen(id, follower, () => {
        wait = FIRST_WAIT;
        follower.onconnection(true);
      });
      if (over) return;
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    if (follower.signal.aborted) return;
    follower.onconnection(false);
    await pause(wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}

/** @returns {Promise<boolean>} whether the night is over */
async function listen(id, follower, onopen) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE);
  try {
    const last = follower.count() - 1;
    const answer = await fetch(`/v1/sessions/${id}/events`, {
      headers: { ...authorization(), ...(last < 0 ? {} : { "Last-Event-ID": String(last) }) },
      signal: AbortSignal.any([follower.signal, silence.signal]),
    });
    if (!answer.ok) throw new Problem(answer.status, (await answer.json()).detail);
    onopen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE);
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      if (parts.map(parse).some((event) => dispatch(event, follower))) return true;
    }
  } finally {
    clearTimeout(timer);
  }
}

function parse(text) {
  const fields = text.split("\n").map((line) => line.split(/: (.*)/s));
  return Object.fromEntries(fields.filter(([name]) => name));
}

/** @returns {boolean} whether the night is over */
function dispatch(event, follower) {
  if (event.event === "epoch") follower.onepoch(Number(event.id), JSON.parse(event.data));
  if (event.event !== "session") return false;
  const session = JSON.parse(event.data);
  follower.onsession(session);
  return session.closed && follower.count() >= session.n_epochs;
}
