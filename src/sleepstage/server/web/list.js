/** All nights, and how to begin one. */

import { authorization, get, isPassing, since } from "./api.js";
import { play } from "./demo.js";
import { button, make, setText } from "./dom.js";
import { exportsPart } from "./exports.js";
import { EPOCH, STAGES, duration, roughly, runs, stageName, when } from "./format.js";

const AGAIN = 5000; // ms
const PICTURED = 12; // nights, the newest, whose stages are drawn
const SPEEDS = [
  ["60 times as fast: 8 min", 60],
  ["600 times as fast: 48 s", 600],
  ["As fast as it goes", Infinity],
];

/** Show the list in `main` until the signal aborts. */
export async function showList(main, page) {
  const nights = make("ul.nights");
  const empty = make("p.lead", { hidden: true }, "No live night yet. Play a simulated one, or let a watch push.");
  const guide = howTo();
  const rows = new Map();

  async function refresh() {
    const { sessions } = await get("/sessions");
    if (page.signal.aborted) return;
    const shown = sessions.map((session) => {
      if (!rows.has(session.id)) rows.set(session.id, nightRow(session));
      rows.get(session.id).draw(session);
      return rows.get(session.id).element;
    });
    // Only where something has come or gone: who is on a link by keyboard stays there.
    if (shown.length !== nights.children.length || shown.some((one, i) => one !== nights.children[i])) {
      nights.replaceChildren(...shown);
    }
    empty.hidden = sessions.length > 0;
    page.onconnection("");
    for (const { id } of sessions.slice(0, PICTURED)) {
      if (!page.signal.aborted) await rows.get(id).picture();
    }
  }

  main.replaceChildren(make("h1", {}, "Nights"), exportsPart(page), empty, nights, demoRow(), guide);
  document.title = "sleepstage";
  const first = refresh();
  await first;
  guide.open = !empty.hidden;
  const lost = () => page.signal.aborted || page.onconnection("Connection lost, trying again …");
  const again = () => refresh().catch(lost);
  const timer = setInterval(again, AGAIN);
  page.signal.addEventListener("abort", () => clearInterval(timer));
}

/** A night in the list; its stages are asked for when there are new ones. */
function nightRow({ id, simulated }) {
  const parts = {
    name: make("span.name"),
    when: make("span.quiet"),
    long: make("span.quiet.long"),
    mark: make("i.mark"),
    stage: make("span"),
    state: make("span.quiet"),
    bar: make("span.bar", { "aria-hidden": "true" }),
  };
  const tag = simulated ? make("span.tag", {}, "SIMULATED") : null;
  const now = make("span.last", {}, parts.mark, parts.stage);
  const head = make("span.head", {}, parts.name, tag);
  const link = make("a", { href: `#/sessions/${id}` }, head, parts.when, parts.long, now, parts.state, parts.bar);
  const epochs = [];
  let [session, next] = [null, 0];
  return {
    element: make("li", {}, link),
    draw(newest) {
      session = newest;
      setText(parts.name, session.label || "A night");
      const over = session.watch ? "found by itself" : "over";
      setText(parts.when, when(session));
      setText(parts.long, duration((session.n_epochs * EPOCH) / 60));
      setText(parts.state, session.closed ? over : `open, last heard ${roughly(since(session.heard))} ago`);
    },
    async picture() {
      if (next >= session.n_epochs) return;
      const more = await get(`/sessions/${id}/hypnogram?after=${next}`);
      epochs.push(...more.epochs);
      next = more.first + more.epochs.length;
      const { stage } = epochs.at(-1);
      parts.mark.dataset.stage = stage;
      setText(parts.stage, stageName(stage));
      parts.bar.style.background = stripes(epochs);
    },
  };
}

/** A background that shows the stages from left to right; what is unknown is left open. */
function stripes(epochs) {
  const [begin, whole] = [epochs[0].time, epochs.length * EPOCH];
  const at = (time) => `${((100 * (time - begin)) / whole).toFixed(2)}%`;
  const colours = runs(epochs).map((run) => {
    const ink = STAGES.includes(run.stage) ? `var(--${run.stage})` : "transparent";
    return `${ink} ${at(run.begin)} ${at(run.end)}`;
  });
  return `linear-gradient(to right, ${colours.join(", ")})`;
}

function demoRow() {
  const options = SPEEDS.map(([text, value], i) => make("option", { value, selected: i === 1 }, text));
  const speed = make("select", { "aria-label": "Speed of the demo" }, ...options);
  const problem = make("p.problem", { role: "alert" });
  const start = button("Play a demo night", begin, "main");

  async function begin() {
    start.disabled = true;
    problem.textContent = "";
    try {
      location.hash = `#/sessions/${await play(Number(speed.value))}`;
    } catch (error) {
      problem.textContent = isPassing(error) ? "The server does not answer; try again." : error.message;
      start.disabled = false;
    }
  }

  return make("div.demo", {}, make("div.row", {}, start, speed), problem);
}

function howTo() {
  const { origin } = location;
  const secret = authorization().Authorization ? ' -H "Authorization: Bearer $TOKEN"' : "";
  const now = Math.floor(Date.now() / 1000);
  const commands = [
    `curl${secret} ${origin}/v1/sessions --json '{"label": "tonight"}'   # prints the session's id`,
    `curl${secret} -X PUT ${origin}/v1/sessions/ID/messages/1 --json '{"heart_rate": [[${now}, 58]]}'`,
  ];
  return make(
    "details",
    {},
    make("summary", {}, "Let a watch push"),
    make("p", {}, "From the app Sensor Logger, give it as Push URL:"),
    make("pre", { tabindex: "0", "aria-label": "Push URL" }, `${origin}/v1/sensor-logger`),
    make("p", {}, "From an app of your own:"),
    make("pre", { tabindex: "0", "aria-label": "Commands" }, commands.join("\n")),
  );
}
