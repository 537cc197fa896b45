/** Alarms of all sessions, kept in this browser, and what rings: whatever view is shown. */

import { ASLEEP, CLOSED, SNOOZE, advance, snooze } from "./alarm.js";
import { isUnlocked, ring, screen, unlock } from "./bell.js";
import { button, make, setText } from "./dom.js";
import { clock } from "./format.js";

const KEY = "sleepstage-alarm-";
const WHY = { awake: "You are awake", light: "Light sleep", deadline: "The time has come" };

const newest = new Map(); // epochs, by session
const display = screen();
const dialog = ringingDialog();
let opening = true;

export const now = () => Date.now() / 1000;

/** @returns {import("./alarm.js").Alarm|null} */
export const alarmOf = (id) => JSON.parse(localStorage.getItem(KEY + id));

/** Set a session's alarm; none if it is null. */
export function setAlarm(id, alarm) {
  if (alarm) localStorage.setItem(KEY + id, JSON.stringify(alarm));
  else localStorage.removeItem(KEY + id);
  check();
}

/** Take note of the last epoch of a session: its alarm may ring. */
export function hear(id, epoch) {
  newest.set(id, epoch);
  check();
}

export const isScreenKept = display.isKept;

/** Why it rings, or did, in words. */
export const why = ({ rung, snoozed }) => (snoozed ? "The snooze is over" : WHY[rung.why]);

/** Ring what is due for as long as the page is open. */
export function watchAlarms() {
  document.body.append(dialog.element);
  setInterval(check, 1000);
  document.addEventListener("visibilitychange", check); // timers rest in a tab in the background
  for (const touch of ["pointerup", "keydown"]) {
    document.addEventListener(touch, () => known().length && unlock().then(check));
  }
  check();
}

const known = () =>
  Object.keys(localStorage)
    .filter((key) => key.startsWith(KEY))
    .map((key) => key.slice(KEY.length));

/** Clocks are compared each time, for no timer can be trusted to be on time. */
function check() {
  const time = now();
  const alarms = known().map((id) => [id, alarmOf(id)]);
  const current = alarms.map(([id, alarm]) => {
    const next = advance(alarm, time, newest.get(id), opening ? CLOSED : ASLEEP);
    if (next !== alarm) localStorage.setItem(KEY + id, JSON.stringify(next));
    return [id, next];
  });
  opening = false;
  const pending = current.filter(([, alarm]) => !alarm.missed);
  display.keep(pending.length > 0);
  dialog.draw(...(pending.find(([, alarm]) => alarm.rung) ?? [null, null]));
}

/** What is seen and heard while an alarm rings; it closes by its buttons, and Escape snoozes. */
function ringingDialog() {
  const heading = make("h2", { id: "ringing" });
  const reason = make("p", { id: "ringing-why" });
  const silent = make("p", {}, "No sound: this browser plays none before you click on the page.");
  const again = button(`Snooze ${SNOOZE} minutes`, () => finish(snooze(now())), "main");
  const stop = button("Stop", () => finish(null));
  const oncancel = (event) => {
    event.preventDefault();
    again.click();
  };
  const element = make(
    "dialog.ringing",
    { role: "alertdialog", "aria-labelledby": "ringing", "aria-describedby": "ringing-why", oncancel },
    heading,
    reason,
    silent,
    make("div.row", {}, again, stop),
  );
  let [session, hush] = [null, null];

  function hide() {
    [session, hush] = [null, hush?.()];
    element.close();
  }

  function finish(alarm) {
    const id = session;
    hide();
    setAlarm(id, alarm);
  }

  function show(id, alarm) {
    session = id;
    setText(heading, `Alarm, ${clock(alarm.rung.since)}`);
    setText(reason, why(alarm));
    hush ??= ring();
    silent.hidden = isUnlocked();
    if (element.open) return;
    element.showModal();
    again.focus();
  }

  return { element, draw: (id, alarm) => (id ? show(id, alarm) : session && hide()) };
}
