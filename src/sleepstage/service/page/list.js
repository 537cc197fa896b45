/** All nights, and how to begin one. */

import { get } from "./api.js";
import { play } from "./demo.js";
import { button, make } from "./dom.js";
import { ago, day, duration } from "./format.js";

const AGAIN = 5000; // ms
const SPEEDS = [
  ["60 × as fast: 8 min", 60],
  ["600 × as fast: 48 s", 600],
  ["As fast as it goes", Infinity],
];

/** Show the list in `main` until the signal aborts. */
export async function showList(main, page) {
  const nights = make("ul.nights");
  const empty = make("p.quiet", { hidden: true }, "No night yet. Play a simulated one, or let a watch push:");
  main.replaceChildren(make("h1", {}, "Nights"), nights, empty, demoRow(), howTo());
  const refresh = async () => {
    const { sessions } = await get("/sessions");
    if (page.signal.aborted) return;
    nights.replaceChildren(...sessions.map(row));
    empty.hidden = sessions.length > 0;
    page.onconnection("");
  };
  await refresh();
  const timer = setInterval(() => refresh().catch(() => page.onconnection("Connection lost, trying again …")), AGAIN);
  page.signal.addEventListener("abort", () => clearInterval(timer));
}

function row(session) {
  const state = session.closed ? "over" : `last heard ${ago(Date.now() / 1000 - session.heard)}`;
  return make(
    "li",
    {},
    make(
      "a",
      { href: `#/sessions/${session.id}` },
      make("span.name", {}, session.label || "A night"),
      session.simulated ? make("span.tag.mark", {}, "SIMULATED") : null,
      make("span.quiet", {}, day(session.start > 1e8 ? session.start : session.created)),
      make("span.quiet", {}, duration(session.n_epochs / 2)),
      make("span.quiet", {}, state),
    ),
  );
}

function demoRow() {
  const speed = make(
    "select",
    { "aria-label": "Speed of the demo" },
    ...SPEEDS.map(([text, value], i) => make("option", { value, selected: i === 1 }, text)),
  );
  const start = button(
    "Play a demo night",
    async () => {
      start.disabled = true;
      location.hash = `#/sessions/${await play(Number(speed.value))}`;
    },
    "main",
  );
  return make("p.row", {}, start, speed);
}

function howTo() {
  const now = Math.floor(Date.now() / 1000);
  const curl = `id=$(curl -s ${location.origin}/v1/sessions --json '{"label": "tonight"}' | sed 's/.*"id":"\\([^"]*\\).*/\\1/')
curl -X PUT ${location.origin}/v1/sessions/$id/messages/1 --json '{"heart_rate": [[${now}, 58]]}'`;
  return make(
    "details",
    {},
    make("summary", {}, "Let a watch push"),
    make("p", {}, "The app Sensor Logger: Settings, Data Streaming, Push URL ", make("code", {}, `${location.origin}/v1/sensor-logger`)),
    make("p", {}, "An app of your own:"),
    make("pre", { tabindex: "0" }, curl),
  );
}
