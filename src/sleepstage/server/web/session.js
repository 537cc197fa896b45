/** One night: what is now, how it went, and what can be done with it. */

import { actionsPart } from "./actions.js";
import { alarmPart } from "./alarmpart.js";
import { nightCharts } from "./chart.js";
import { player } from "./demo.js";
import { make, setText } from "./dom.js";
import { epochsPart } from "./epochs.js";
import { stageName, when } from "./format.js";
import { followNight, readNight, readingOf } from "./night.js";
import { nowPart } from "./now.js";
import { hear } from "./ringing.js";
import { statisticsTables, summaryOf } from "./statistics.js";
import { silencePart, warningsPart } from "./warnings.js";

const LOST = "Connection lost, trying again …";

/**
 * Show a session in `main` until the signal aborts.
 *
 * @param {HTMLElement} main
 * @param {string} id
 * @param {{readOnly: boolean, signal: AbortSignal, onconnection: (text: string) => void,
 *   onredraw: (redraw: () => void) => void}} page
 */
export async function showSession(main, id, page) {
  const night = await readNight(id);
  if (page.signal.aborted) return;
  page.onconnection("");
  const view = nightView(night, page);
  main.replaceChildren(...view.elements);
  view.draw();
  hear(id, night.epochs.at(-1));
  const ticking = setInterval(view.tick, 1000);
  page.signal.addEventListener("abort", () => {
    clearInterval(ticking);
    view.destroy();
  });
  if (night.session.closed) return;
  await followNight(night, {
    signal: page.signal,
    onchange() {
      hear(id, night.epochs.at(-1)); // at once: a tab in the background is not drawn
      view.soon();
    },
    onconnection: (connected) => page.signal.aborted || view.connect(connected),
  });
}

function nightView(night, page) {
  const name = make("h1", { tabindex: "-1" });
  const problem = make("p.problem");
  const summary = make("p.summary");
  const statistics = make("section.statistics", { "aria-label": "Sleep statistics" });
  const [now, charts, epochs, demo] = [nowPart(), nightCharts(), epochsPart(), player(night.session.id)];
  const [warnings, silence, alarm] = [warningsPart(), silencePart(), alarmPart(night.session)];
  const choice = readingChoice(draw);
  const actions = actionsPart(night, {
    readOnly: page.readOnly,
    shown: () => current().epochs,
    onchange: draw,
  });
  now.element.append(demo.element);
  page.onredraw(charts.redraw);

  let [reading, from, drawing, connected] = [null, null, false, true];

  /** What is shown; the same object for as long as nothing else is. */
  function current() {
    const source = choice.whole() && night.night ? night.night : night;
    if (source === night) reading = night;
    else if (from !== source) reading = readingOf(night, true);
    from = source;
    return reading;
  }

  function draw() {
    drawing = false;
    if (page.signal.aborted) return;
    const { session } = night;
    const start = session.start ?? 0;
    const shown = current();
    const other = night.night ? (shown === night ? night.night.epochs : night.epochs) : [];
    setText(name, session.label || "A night");
    document.title = titleOf(night);
    setText(problem, night.problem ?? "");
    problem.hidden = !night.problem;
    choice.element.hidden = !night.night?.epochs.length;
    now.draw(night, shown);
    warnings.draw(session);
    setText(summary, summaryOf(shown));
    charts.update(shown.epochs, other, start);
    epochs.draw(shown.epochs, start);
    statistics.replaceChildren(make("h2", {}, "Sleep statistics"), make("div.tables", {}, ...statisticsTables(shown)));
    actions.draw();
    tick();
  }

  function tick() {
    now.tick(night);
    demo.tick();
    silence.tick(night, connected);
    alarm.tick(night.session);
  }

  return {
    elements: [
      make("div.title", {}, name, make("p.quiet", {}, when(night.session))),
      problem,
      ...(night.session.simulated ? [simulatedBanner()] : []),
      make("div.top", {}, now.element, statistics),
      silence.element,
      alarm.element,
      warnings.element,
      make("section", { "aria-label": "The night" }, choice.element, charts.element, summary, epochs.element),
      actions.element,
    ],
    draw,
    tick,
    soon() {
      if (!drawing) requestAnimationFrame(draw);
      drawing = true;
    },
    connect(is) {
      connected = is;
      page.onconnection(is ? "" : LOST);
    },
    destroy: charts.destroy,
  };
}

/** Once the night is over: as it was staged live, or read again as a whole. */
function readingChoice(onchange) {
  const whole = make("input", { type: "radio", name: "reading", onchange });
  const live = make("input", { type: "radio", name: "reading", onchange, checked: true });
  const element = make(
    "fieldset.row",
    { hidden: true },
    make("legend", {}, "Two readings of this night; the other one is thin and grey."),
    make("label", {}, live, " As it was staged live"),
    make("label", {}, whole, " Read again as a whole"),
  );
  return { element, whole: () => whole.checked };
}

function simulatedBanner() {
  const what = make("span", {}, "made by a program; nobody has slept");
  return make("p.simulated", {}, make("strong", {}, "SIMULATED"), what);
}

function titleOf({ session, epochs }) {
  const last = session.closed ? null : epochs.at(-1);
  const parts = [last && stageName(last.stage), session.label || "A night", "sleepstage"];
  return parts.filter(Boolean).join(" · ");
}
