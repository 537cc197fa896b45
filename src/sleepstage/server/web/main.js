/** Which view is shown: by the part of the address after the #. */

import { get, hasToken, isPassing, useLink, useToken } from "./api.js";
import { make } from "./dom.js";
import { showList } from "./list.js";
import { watchAlarms } from "./ringing.js";
import { showSession } from "./session.js";
import { setUpTheme } from "./theme.js";

const AGAIN = 2000; // ms
const main = document.getElementById("main");
const connection = document.getElementById("connection");
let leave = new AbortController();
let redraw = () => {};

watchAlarms();
setUpTheme(document.getElementById("theme"), () => redraw());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's # selects what is shown
  main.focus();
});
addEventListener("hashchange", () => {
  scrollTo(0, 0);
  main.focus({ preventScroll: true }); // so that it is read out, and Tab goes on from there
  show();
});
show();

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [, view, id, secret] = location.hash.split("/");
  if (view === "token") {
    useToken(id); // of the command that has opened this page; it does not stay in the history
    location.replace("#/");
    return;
  }
  const page = { signal, readOnly: Boolean(secret), onconnection, onredraw };
  onredraw(() => {});
  useLink(secret ?? null);
  document.querySelector(".home").hidden = page.readOnly;
  onconnection("");
  try {
    await get("/me");
    if (signal.aborted) return;
    await (view === "sessions" && id ? showSession(main, id, page) : showList(main, page));
  } catch (error) {
    if (!signal.aborted) explain(error, page);
  }
}

function onredraw(step) {
  redraw = step;
}

function onconnection(text) {
  connection.textContent = text;
}

function explain(error, page) {
  if (isPassing(error)) {
    onconnection("The server does not answer, trying again …");
    setTimeout(() => page.signal.aborted || show(), AGAIN);
    return;
  }
  leave.abort();
  document.title = "sleepstage"; // who may not see a night does not learn its name
  if (error.status === 401 && !page.readOnly) askForToken(error);
  else if (error.status === 401) showMessage("This link is not valid any more.");
  else showMessage(error.status === 404 ? "There is no such night." : error.message, page.readOnly);
}

function showMessage(text, dead = true) {
  const back = dead ? null : make("p", {}, make("a", { href: "#/" }, "All nights"));
  main.replaceChildren(...[make("h1", {}, text), back].filter(Boolean));
}

function askForToken(error) {
  const field = make("input", { type: "password", autocomplete: "off", id: "token" });
  const open = make("button.main", { type: "submit" }, "Open");
  const onsubmit = (event) => {
    event.preventDefault();
    useToken(field.value.trim());
    show();
  };
  const label = make("label", { for: "token" }, "Token, as sleepstage token add has printed it");
  const form = make("form", { onsubmit }, make("p", {}, label), make("p.row", {}, field, open));
  const refusal = hasToken() ? [make("p.problem", { role: "alert" }, error.message)] : [];
  main.replaceChildren(make("h1", {}, "Who are you?"), form, ...refusal);
  field.focus();
}
