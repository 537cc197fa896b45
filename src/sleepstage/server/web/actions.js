/** What can be done with a night: share, download, end, delete. */

import { isPassing, request } from "./api.js";
import { download } from "./csv.js";
import { button, make } from "./dom.js";
import { listLinks, shareLink } from "./links.js";

const ENDS = "End this night? Nothing more is taken in afterwards.";
const DELETES = "Delete this night and all that was measured? This can't be undone.";

/**
 * @param {object} night changed in place when it is ended
 * @param {{readOnly: boolean, shown: () => object[], onchange: () => void}} page
 * @returns {{element: HTMLElement, draw: () => void}}
 */
export function actionsPart(night, page) {
  const { id } = night.session;
  const problem = make("p.problem", { role: "alert" });
  const links = make("div.links", { tabindex: "-1" });

  const guarded = (step) => async () => {
    problem.textContent = "";
    try {
      await step();
    } catch (error) {
      problem.textContent = isPassing(error) ? "The server does not answer; try again." : error.message;
    }
  };
  const end = async () => {
    if (!confirm(ENDS)) return;
    Object.assign(night, await request("POST", `/sessions/${id}/close`));
    page.onchange();
  };
  const remove = async () => {
    if (!confirm(DELETES)) return;
    await request("DELETE", `/sessions/${id}`);
    location.hash = "#/";
  };

  const save = button("Download as CSV", () => download(page.shown(), night.session));
  const ending = button("End the night", guarded(end));
  const changing = [
    button("Share a link to look", guarded(() => shareLink(links, id, guarded))),
    button("Show links", guarded(() => listLinks(links, id, guarded))),
    ending,
    button("Delete", guarded(remove), "grave"),
  ];
  const buttons = page.readOnly ? [save] : [save, ...changing];
  return {
    element: make("section", { "aria-label": "This night" }, make("div.row", {}, ...buttons), problem, links),
    draw: () => (ending.hidden = night.session.closed),
  };
}
