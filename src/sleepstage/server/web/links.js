/** Links that let others look at a night: made, listed, revoked. */

import { get, request } from "./api.js";
import { button, make } from "./dom.js";
import { day } from "./format.js";

const DAYS = 30;

/** Make a link and show its address: the server shows it only now. */
export async function shareLink(box, id, guarded) {
  const link = await request("POST", `/sessions/${id}/links`, { days: DAYS });
  await listLinks(box, id, guarded);
  const field = make("input.address", {
    readonly: true,
    value: `${location.origin}${link.page}`,
    "aria-label": "Address of the link",
  });
  const copy = navigator.clipboard && button("Copy", () => navigator.clipboard.writeText(field.value));
  const note = `Whoever has this address can look at this night for ${DAYS} days. It is shown only now.`;
  box.prepend(make("div.row", {}, field, copy ?? null), make("p.quiet", {}, note));
  field.select();
}

/** Show the links that there are, each with a button to revoke it. */
export async function listLinks(box, id, guarded) {
  const { links } = await get(`/sessions/${id}/links`);
  const rows = links.map((link) => row(link, async () => {
    await request("DELETE", `/sessions/${id}/links/${link.id}`);
    await listLinks(box, id, guarded);
  }, guarded));
  box.replaceChildren(...(rows.length ? rows : [make("p.quiet", {}, "There are no links to this night.")]));
  box.focus();
}

function row(link, revoke, guarded) {
  const until = link.expires ? `valid until ${day(link.expires)}` : "valid for good";
  const control = button("Revoke", guarded(revoke));
  control.setAttribute("aria-label", `Revoke link ${link.id}`);
  return make("div.row", {}, control, make("span", {}, `Link ${link.id}, made ${day(link.created)}, ${until}`));
}
