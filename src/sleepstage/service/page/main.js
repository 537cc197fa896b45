/** Which view is shown: by the part of the address after the #. */

import { Problem, useLink, useToken } from "./api.js";
import { make } from "./dom.js";
import { showList } from "./list.js";
import { showSession } from "./session.js";
import { setUpTheme } from "./theme.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
let leave = new AbortController();
let redraw = () => {};

setUpTheme(document.getElementById("theme"), () => redraw());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's # says what is shown
  main.focus();
});
addEventListener("hashchange", show);
show();

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [, view, id, secret] = location.hash.split("/");
  const page = { signal, readOnly: Boolean(secret), onconnection: (text) => (connection.textContent = text), onredraw };
  redraw = () => {};
  useLink(secret ?? null);
  document.querySelector(".home").hidden = page.readOnly;
  connection.textContent = "";
  try {
    await (view === "sessions" && id ? showSession(main, id, page) : showList(main, page));
  } catch (error) {
    if (!signal.aborted) explain(error, page);
  }
}

function onredraw(step) {
  redraw = step;
}

function explain(error, page) {
  if (!(error instanceof Problem)) {
    connection.textContent = "The server does not answer, trying again …";
    setTimeout(() => page.signal.aborted || show(), 2000);
  } else if (error.status === 401 && !page.readOnly) askForToken(error);
  else if (error.status === 401) main.replaceChildren(make("h1", {}, "This link is not valid any more."));
  else {
    const back = page.readOnly ? null : make("p", {}, make("a", { href: "#/" }, "All nights"));
    main.replaceChildren(make("h1", {}, error.status === 404 ? "There is no such night." : error.message), back ?? "");
  }
}

function askForToken(error) {
  const field = make("input", { type: "password", autocomplete: "off", id: "token" });
  const form = make(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        useToken(field.value.trim());
        show();
      },
    },
    make("p", {}, make("label", { for: "token" }, "Token, as sleepstage token add has printed it")),
    make("p.row", {}, field, make("button.main", { type: "submit" }, "Open")),
  );
  const known = sessionStorage.getItem("sleepstage-token");
  main.replaceChildren(make("h1", {}, "Who are you?"), form, ...(known ? [make("p.problem", { role: "alert" }, error.message)] : []));
  field.focus();
}
