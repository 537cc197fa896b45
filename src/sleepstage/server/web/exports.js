/** Exports: dropped on the page, uploaded one after the other, and shown night by night. */

import { authorization, get, isPassing, request } from "./api.js";
import { button, make, setText } from "./dom.js";
import { duration, percent, stageName } from "./format.js";

const AGAIN = 2000; // ms
const WANTED = "export.zip of Apple Health, a recording of Sensor Logger, or a table";
const WRONG = /^(image|video|audio|font)\/|^application\/pdf$/; // types that are none of these
const BROKE_OFF =
  "The upload broke off. Is the server still running, and the file not larger than it takes (8 GB)? Try again; " +
  "a folder has to be packed into a zip file first.";
const DELETES = "Delete this export, its nights and pictures? This can't be undone.";
const STAGES = ["deep", "rem", "light", "wake"];

/** Files that are not uploaded yet, in the order they were given, and those that can't be. */
const uploads = [];
let onchange = () => {};

function take(files) {
  for (const file of files) {
    const wrong = WRONG.test(file.type) ? `Not a recording. Drop ${WANTED}.` : "";
    uploads.push({ file, share: 0, sending: null, problem: wrong });
  }
  sendNext();
}

/** One at a time; a file that can't be sent does not keep up the others. */
async function sendNext() {
  onchange();
  const upload = uploads.find((one) => !one.problem);
  if (!upload || upload.sending) return;
  try {
    await send(upload);
    drop(upload);
  } catch (error) {
    upload.problem = error.message;
  }
  sendNext();
}

function send(upload) {
  const sending = new XMLHttpRequest(); // fetch does not show how far an upload is
  upload.sending = sending;
  sending.open("POST", `/v1/exports?name=${encodeURIComponent(upload.file.name)}`);
  for (const [name, value] of Object.entries(authorization())) sending.setRequestHeader(name, value);
  sending.upload.onprogress = ({ loaded, total }) => {
    upload.share = loaded / total;
    onchange();
  };
  return new Promise((resolve, reject) => {
    sending.responseType = "json";
    sending.onload = () => {
      if (sending.status === 201) resolve();
      else reject(new Error(sending.response?.detail ?? BROKE_OFF));
    };
    sending.onerror = () => reject(new Error(BROKE_OFF));
    sending.onabort = resolve;
    sending.send(upload.file);
  });
}

function drop(upload) {
  if (uploads.includes(upload)) uploads.splice(uploads.indexOf(upload), 1);
  onchange();
}

function cancel(upload) {
  upload.sending?.abort();
  drop(upload);
}

/** Where exports are dropped, and what came of them, until the page's signal aborts. */
export function exportsPart(page) {
  keepCookie();
  const sent = make("ul.uploads");
  const staged = make("div");
  const [shown, rows] = [new Map(), new Map()];
  const field = make("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files" });
  const choose = button("Choose a file", () => field.click());
  const text = make("span", {}, `Drop ${WANTED} here: every night in it is staged, on the computer that runs this page.`);
  const zone = make("div.drop", {}, text, choose, field);

  field.addEventListener("change", () => {
    take(field.files);
    field.value = ""; // so that the same file can be chosen again
  });
  const listen = (name, step) => addEventListener(name, step, { signal: page.signal });
  listen("dragover", (event) => {
    event.preventDefault(); // or the browser would open the file in place of the page
    zone.classList.add("over");
  });
  listen("dragleave", () => zone.classList.remove("over"));
  listen("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files);
  });

  onchange = () => {
    for (const upload of new Set([...uploads, ...rows.keys()])) {
      if (!rows.has(upload)) sent.append(rows.set(upload, uploadRow(upload)).get(upload).element);
      rows.get(upload).draw();
      if (uploads.includes(upload)) continue;
      rows.get(upload).element.remove();
      rows.delete(upload);
      refresh();
    }
  };

  async function refresh() {
    const found = await get("/exports").catch(() => null); // the list shows that the server is away
    if (!found || page.signal.aborted) return;
    for (const [id, { element }] of shown) {
      if (found.some((one) => one.id === id)) continue;
      element.remove();
      shown.delete(id);
    }
    for (const one of found.reverse()) {
      if (!shown.has(one.id)) {
        shown.set(one.id, exportPart(one, refresh));
        staged.prepend(shown.get(one.id).element);
      }
      await shown.get(one.id).draw(one).catch(() => {}); // it was deleted just now, or comes again
    }
  }

  const timer = setInterval(refresh, AGAIN);
  page.signal.addEventListener("abort", () => clearInterval(timer));
  onchange();
  refresh();
  return make("section", { "aria-label": "Exports" }, zone, sent, staged);
}

/** Browsers send no token when they follow a link or load a picture, but a cookie. */
function keepCookie() {
  const token = authorization().Authorization?.split(" ")[1] ?? "";
  const age = token ? "" : "; max-age=0";
  document.cookie = `sleepstage-token=${token}; path=/v1/exports; samesite=strict${age}`;
}

function uploadRow(upload) {
  const bar = make("progress", { max: 1, value: 0, "aria-label": `Uploaded of ${upload.file.name}` });
  const share = make("span.quiet");
  const problem = make("span.problem", { role: "alert" });
  const end = button("Cancel", () => cancel(upload));
  return {
    element: make("li.row", {}, make("strong", {}, upload.file.name), bar, share, problem, end),
    draw() {
      bar.value = upload.share;
      bar.hidden = upload.problem !== "";
      const sending = upload.share < 1 ? `${percent(upload.share)} uploaded` : "arriving …";
      setText(share, upload.problem ? "" : upload.sending ? sending : "waits for the one before");
      setText(problem, upload.problem);
      setText(end, upload.problem ? "Close" : "Cancel");
    },
  };
}

/** One export: its state, its nights as they are staged, and what could not be. */
function exportPart({ id, name }, onremove) {
  const files = `/v1/exports/${id}/files`;
  const state = make("span", { role: "status" });
  const overview = make("a", { href: `${files}/index.html`, target: "_blank", hidden: true }, "All on one page");
  const nights = make("ul.staged");
  const notes = make("ul.notes");
  const problem = make("p.problem", { role: "alert" });
  const end = button("Cancel", remove);
  const rows = new Map();
  let [busy, complete] = [true, false];

  async function remove() {
    if (!busy && !confirm(DELETES)) return;
    problem.textContent = "";
    try {
      await request("DELETE", `/exports/${id}`);
    } catch (error) {
      problem.textContent = isPassing(error) ? "The server does not answer; try again." : error.message;
    }
    onremove();
  }

  async function addNight(night) {
    const folder = `${files}/${encodeURIComponent(night)}`;
    const summary = await get(`/exports/${id}/files/${encodeURIComponent(night)}/summary.json`);
    if (rows.has(night)) return;
    const element = nightPart(summary, folder);
    const after = [...rows.keys()].filter((one) => one > night).sort()[0];
    nights.insertBefore(element, rows.get(after) ?? null);
    rows.set(night, element);
  }

  const head = make("div.row", {}, make("strong", {}, name), state, overview, end);
  return {
    element: make("article.export", {}, head, problem, nights, notes),
    async draw(newest) {
      busy = ["waiting", "staging"].includes(newest.state);
      setText(state, describe(newest.state, rows.size));
      setText(end, busy ? "Cancel" : "Delete");
      overview.hidden = newest.state !== "done";
      if (complete || newest.state === "waiting") return;
      const { messages, nights: found } = await get(`/exports/${id}`);
      for (const night of found) if (!rows.has(night)) await addNight(night);
      notes.replaceChildren(...messages.map((text) => make("li", {}, text)));
      if (newest.state === "failed") notes.append(make("li", {}, `What can be staged: ${WANTED}.`));
      setText(state, describe(newest.state, rows.size));
      complete = !busy;
    },
  };
}

function describe(state, n) {
  const count = n === 1 ? "1 night" : `${n} nights`;
  if (state === "done") return count;
  if (state === "failed") return "could not be staged";
  return state === "waiting" ? "waits for the one before" : `is being staged: ${count} so far`;
}

/** A night; its picture is loaded when it is opened. */
function nightPart({ night, statistics }, folder) {
  const { minutes, total_sleep_time: asleep } = statistics;
  const stages = STAGES.filter((stage) => stage in minutes);
  const shares = stages.map((stage) => `${stageName(stage)} ${duration(minutes[stage])}`).join(" · ");
  const head = make("summary", {}, make("strong", {}, night), ` ${duration(asleep)} asleep `, make("span.quiet", {}, shares));
  const part = make("details", {}, head);
  part.addEventListener(
    "toggle",
    () => {
      const link = make("a", { href: `${folder}/hypnogram.csv`, download: `${night}.csv` }, "Download as CSV");
      part.append(make("img", { src: `${folder}/night.png`, alt: `Hypnogram of ${night}` }), make("p", {}, link));
    },
    { once: true },
  );
  return make("li", {}, part);
}
