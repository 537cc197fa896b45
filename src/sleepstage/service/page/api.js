/** The server's HTTP interface: requests with whatever secret is at hand. */

const KEY = "sleepstage-token";
let linkSecret = null;

/** What the server refuses, in its words. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Go by a link's secret, or by the token again if it is null. */
export function useLink(secret) {
  linkSecret = secret;
}

/** Remember a token as long as this tab is open. */
export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

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
  const answer = await fetch(`/v1${path}`, {
    method,
    headers: { ...authorization(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, said.detail ?? answer.statusText);
  return said;
}

export const get = (path) => request("GET", path);
