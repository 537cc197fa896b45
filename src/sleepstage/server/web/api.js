/** The server's HTTP interface: requests with whatever secret is at hand. */

const KEY = "sleepstage-token";
let linkSecret = null;
let ahead = 0; // ms that the server's clock is ahead of ours

/** What the server refuses, in its words. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Whether it is worth trying again: the server does not answer, or is busy. */
export const isPassing = (error) =>
  !(error instanceof Problem) || error.status >= 500 || error.status === 429;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Go by a link's secret, or by the token again if it is null. */
export function useLink(secret) {
  linkSecret = secret;
}

/** Remember a token as long as this tab is open. */
export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

/** @returns {Record<string, string>} */
export function authorization() {
  const secret = linkSecret ?? sessionStorage.getItem(KEY);
  return secret ? { Authorization: `Bearer ${secret}` } : {};
}

/**
 * @param {string} method
 * @param {string} path below /v1
 * @param {unknown} [body] sent as JSON
 * @throws {Problem} if the server refuses; TypeError if it does not answer
 */
export async function request(method, path, body) {
  const kind = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(`/v1${path}`, {
    method,
    headers: { ...authorization(), ...kind },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const date = Date.parse(answer.headers.get("Date"));
  if (date) ahead = date - Date.now();
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, content.detail ?? answer.statusText);
  return content;
}

export const get = (path) => request("GET", path);

/** Seconds since something happened by the server's clock. */
export const since = (time) => Math.max((Date.now() + ahead) / 1000 - time, 0);
