/** One night: what it is now, how it went, and what can be done with it. */

import { Problem, get, request } from "./api.js";
import { nightCharts } from "./chart.js";
import { playing } from "./demo.js";
import { button, make, table } from "./dom.js";
import { follow } from "./events.js";
import { STAGES, ago, clock, day, duration, percent, stageName } from "./format.js";

const SILENT = 120; // s after which it is said that nothing comes
const STATISTICS_EVERY = 2000; // ms

/**
 * Show a session in `main` until the signal aborts.
 *
 * @param {HTMLElement} main
 * @param {string} id
 * @param {{readOnly: boolean, signal: AbortSignal, onconnection: (text: string) => void,
 *   onredraw: (redraw: () => void) => void}} page
 */
export async function showSession(main, id, page) {
  const night = await get(`/sessions/${id}/hypnogram`);
  if (page.signal.aborted) return;
  const view = build(main, night, page);
  view.draw();
  const ticking = setInterval(view.tick, 1000);
  page.signal.addEventListener("abort", () => {
    clearInterval(ticking);
    view.destroy();
  });
  if (night.session.closed) return;
  let [drawn, asked] = [true, 0];
  const refresh = async () => {
    asked = 0;
    const { epochs, ...rest } = await get(`/sessions/${id}/hypnogram?after=${night.epochs.length}`).catch(() => ({}));
    if (!rest.session || page.signal.aborted) return;
    take(night, rest.first, epochs);
    Object.assign(night, { session: rest.session, statistics: rest.statistics, night: rest.night });
    view.draw();
  };
  await follow(id, {
    signal: page.signal,
    next: () => night.epochs.length,
    onconnection: (connected) => page.onconnection(connected ? "" : "Connection lost, trying again …"),
    onepoch(number, epoch) {
      take(night, number, [epoch]);
      night.session.heard = Date.now() / 1000;
      asked ||= setTimeout(refresh, STATISTICS_EVERY);
      if (drawn) requestAnimationFrame(() => ((drawn = true), view.draw()));
      drawn = false;
    },
    onsession(session) {
      night.session = session;
      if (session.closed) refresh();
    },
  });
}

/** Add epochs from number `first` on; those that are there already stay as they are. */
function take(night, first, epochs) {
  if (first <= night.epochs.length) night.epochs.push(...epochs.slice(night.epochs.length - first));
}

function build(main, night, page) {
  const charts = nightCharts();
  const parts = {
    name: make("h1"),
    stage: make("p.stage", { "aria-live": "polite" }),
    facts: make("p.facts"),
    heard: make("p.facts"),
    demo: make("div.row"),
    summary: make("p"),
    choice: make("fieldset.row", { hidden: true }),
    statistics: make("div.tables"),
    epochs: make("div.scroll", { tabindex: "0", role: "region", "aria-label": "All epochs" }),
  };
  const details = make("details", {}, make("summary", {}, "All epochs as a table"), parts.epochs);
  let whole = false;
  let shown = "";
  const choose = (text, value) =>
    make(
      "label",
      {},
      make("input", { type: "radio", name: "reading", checked: value === whole, onchange: () => ((whole = value), draw()) }),
      ` ${text}`,
    );
  parts.choice.append(
    make("legend", {}, "The night is over."),
    choose("As it was told live", false),
    choose("Read again as a whole", true),
  );
  const actions = page.readOnly ? null : makeActions(night, page);
  main.replaceChildren(
    parts.name,
    ...(night.session.simulated ? [make("p.simulated", {}, "SIMULATED")] : []),
    make("section.now", { "aria-label": "Now" }, parts.stage, parts.facts, parts.heard, parts.demo),
    make("section", { "aria-label": "The night" }, parts.summary, parts.choice, charts.element, details),
    make("h2", {}, "Sleep statistics"),
    parts.statistics,
    ...(actions ? [make("h2", {}, "This night"), actions] : []),
  );
  page.onredraw(charts.redraw);
  details.addEventListener("toggle", draw);

  function draw() {
    const { session } = night;
    const start = session.start ?? 0;
    const reading = whole && night.night ? { ...night.night, epochs: asDrawn(night) } : night;
    const last = night.epochs.at(-1);
    parts.name.textContent = title(session);
    const stage = last && !session.closed ? last.stage : "";
    if (stage !== shown || !parts.stage.textContent) {
      parts.stage.textContent = session.closed ? duration(reading.statistics.total_sleep_time) : last ? stageName(stage) : "Waiting";
      parts.stage.dataset.stage = stage;
      shown = stage;
    }
    if (session.closed) parts.stage.textContent = duration(reading.statistics.total_sleep_time);
    parts.facts.textContent = session.closed ? "asleep; the night is over" : last ? current(night.epochs) : "for the first 30 seconds of samples";
    parts.summary.textContent = summary(reading);
    parts.choice.hidden = !night.night?.epochs.length;
    charts.update(reading.epochs, start);
    parts.statistics.replaceChildren(...statisticsTables(reading.statistics));
    if (details.open) parts.epochs.replaceChildren(epochTable(reading.epochs, start));
    actions?.classList.toggle("over", session.closed);
    tick();
  }

  function tick() {
    const { session } = night;
    const seconds = Date.now() / 1000 - session.heard;
    const silent = seconds > SILENT && !session.closed;
    parts.heard.replaceChildren(
      session.closed
        ? ""
        : make(silent ? "span.silent" : "span", {}, `Last heard ${ago(seconds)}${silent ? ": is the watch still sending?" : ""}`),
    );
    const demo = playing?.session === session.id ? playing : null;
    if (!demo) parts.demo.replaceChildren();
    else if (!parts.demo.firstChild)
      parts.demo.append(
        make("progress", { "aria-label": "Played", max: 1, value: 0 }),
        button("Stop playing", demo.stop),
      );
    if (demo) parts.demo.querySelector("progress").value = demo.share;
  }

  return { draw, tick, destroy: charts.destroy };
}

/** Epochs of the whole-night reading, with what was measured in them. */
const asDrawn = (night) => night.night.epochs.map((epoch, number) => ({ ...night.epochs[number], ...epoch }));

function title(session) {
  const when = session.start != null && session.start > 1e8 ? `, ${day(session.start)}` : "";
  return `${session.label || "A night"}${when}`;
}

function current(epochs) {
  const last = epochs.at(-1);
  let count = 0;
  while (count < epochs.length && epochs.at(-1 - count).stage === last.stage) count += 1;
  const sure = last.stage === "unscored" ? "" : ` · ${percent(last.probabilities[last.stage])} sure`;
  return `for ${duration(count / 2)}${sure}`;
}

function summary({ epochs, statistics }) {
  if (!epochs.length) return "No epoch yet.";
  const { time_in_bed: bed, total_sleep_time: sleep, minutes } = statistics;
  return `${duration(bed)} in bed, ${duration(sleep)} of it asleep: ${duration(minutes.light)} light, ${duration(minutes.deep)} deep, ${duration(minutes.rem)} REM.`;
}

function statisticsTables(statistics) {
  const { time_in_bed: bed, minutes } = statistics;
  const share = (part) => (bed ? percent(part / bed) : "–");
  return [
    table(
      ["", ""],
      [
        ["Time in bed", duration(bed)],
        ["Total sleep time", duration(statistics.total_sleep_time)],
        ["Sleep onset latency", duration(statistics.sleep_onset_latency)],
        ["Wake after sleep onset", duration(statistics.wake_after_sleep_onset)],
        ["Sleep efficiency", percent(statistics.sleep_efficiency)],
      ],
    ),
    table(
      ["Stage", "Time", "Of the night"],
      STAGES.map((name) => [stageName(name), duration(minutes[name]), share(minutes[name])]),
    ),
  ];
}

function epochTable(epochs, start) {
  const known = (value) => (value == null ? "–" : String(Math.round(value)));
  return table(
    ["Time", "Stage", ...STAGES.map((name) => stageName(name)), "Confidence", "bpm", "Activity"],
    epochs.map((epoch) => [
      clock(epoch.time, start),
      stageName(epoch.stage),
      ...STAGES.map((name) => percent(epoch.probabilities[name])),
      percent(epoch.confidence),
      known(epoch.heart_rate),
      known(epoch.activity),
    ]),
  );
}

function makeActions(night, page) {
  const { id } = night.session;
  const said = make("p.problem", { role: "alert" });
  const links = make("div");
  const guarded = (step) => async () => {
    said.textContent = "";
    try {
      await step();
    } catch (error) {
      said.textContent = error instanceof Problem ? error.message : "The server does not answer; try again.";
    }
  };
  const end = button("End the night", guarded(async () => {
    const closed = await request("POST", `/sessions/${id}/close`);
    Object.assign(night, closed);
    end.hidden = true;
    location.reload();
  }));
  end.hidden = night.session.closed;
  const remove = guarded(async () => {
    if (!confirm("Delete this night and all that was measured? This can't be undone.")) return;
    await request("DELETE", `/sessions/${id}`);
    location.hash = "#/";
  });
  const share = guarded(async () => {
    const link = await request("POST", `/sessions/${id}/links`, { days: 30 });
    await showLinks(links, id, guarded, `${location.origin}${link.page}`);
  });
  return make(
    "div",
    {},
    make(
      "div.row",
      {},
      end,
      button("Share a link to look", share),
      button("Links", guarded(() => showLinks(links, id, guarded))),
      button("Download as CSV", () => download(night)),
      button("Delete", remove, "grave"),
    ),
    said,
    links,
  );
}

async function showLinks(box, id, guarded, fresh) {
  const { links } = await get(`/sessions/${id}/links`);
  const rows = links.map((link) => {
    const until = link.expires ? `until ${day(link.expires)}` : "for good";
    const revoke = button("Revoke", guarded(async () => {
      await request("DELETE", `/sessions/${id}/links/${link.id}`);
      await showLinks(box, id, guarded);
    }));
    revoke.setAttribute("aria-label", `Revoke link ${link.id}`);
    return make("p.row", {}, `Link ${link.id}, made ${day(link.created)}, valid ${until}`, revoke);
  });
  const address = fresh && make("input.address", { readonly: true, value: fresh, "aria-label": "Address of the link" });
  box.replaceChildren(
    ...(fresh ? [make("p.row", {}, address), make("p.quiet", {}, "Whoever has this address can look at this night for 30 days. It is shown only now.")] : []),
    ...(rows.length ? rows : [make("p.quiet", {}, "There are no links to this night.")]),
  );
  address?.select();
}

function download(night) {
  const head = ["time", "stage", ...STAGES.map((name) => `p_${name}`), "confidence", "heart_rate", "activity"];
  const rows = night.epochs.map((epoch) => [
    epoch.time,
    epoch.stage,
    ...STAGES.map((name) => epoch.probabilities[name] ?? ""),
    epoch.confidence,
    epoch.heart_rate ?? "",
    epoch.activity ?? "",
  ]);
  const simulated = night.session.simulated;
  const lines = [simulated ? [...head, "simulated"] : head, ...rows.map((row) => (simulated ? [...row, true] : row))];
  const text = `${lines.map((line) => line.join(",")).join("\n")}\n`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: address, download: "hypnogram.csv" }).click();
  URL.revokeObjectURL(address);
}
