/** The alarm of a night: to set it, how it stands, and what became of it. */

import { WINDOWS, alarmAt } from "./alarm.js";
import { isUnlocked, test, unlock } from "./bell.js";
import { button, make, setText } from "./dom.js";
import { SINCE_START, clock, day } from "./format.js";
import { alarmOf, isScreenKept, now, setAlarm, why } from "./ringing.js";

const USUAL = { time: "07:00", window: 30 };
const LIMITS =
  "It rings in this page alone: leave it open and in front, the device plugged in and its volume up. " +
  "A phone that sleeps, a page that is closed or a computer that is off can't ring. " +
  "It is kept in this browser, and nothing is sent anywhere.";
const KEPT = "The screen stays on as long as this page is in front.";
const DARK = "This browser does not keep the screen on: turn off the automatic lock of the device.";
const SILENT = "No sound yet: click anywhere on this page, or the browser does not let it ring aloud.";
const UNDATED = "The times of this night are no dates: it rings at the latest time, whatever the stage is.";

/** @returns {{element: HTMLElement, tick: (session: object) => void}} */
export function alarmPart({ id }) {
  const missed = make("p", { role: "alert" });
  const state = make("p", { role: "status" });
  const [screen, sound, undated] = [make("p.quiet"), make("p.problem", {}, SILENT), make("p.quiet", {}, UNDATED)];
  const seen = make("div.row.problem", {}, missed, button("Understood", () => put(null)));
  const off = make("div.row", {}, state, button("Turn off", () => put(null)));
  const form = alarmForm((alarm) => {
    unlock();
    put(alarm);
  });
  const summary = make("summary");
  const setting = make("details", {}, summary, form, make("p.quiet", {}, LIMITS));
  const element = make("section.alarm", { "aria-label": "Alarm" }, seen, off, sound, screen, undated, setting);
  let session = null;

  function put(alarm) {
    setAlarm(id, alarm);
    setting.open = false;
    tick(session);
  }

  function tick(newest) {
    session = newest;
    const alarm = alarmOf(id);
    const isSet = Boolean(alarm && !alarm.missed);
    seen.hidden = !alarm?.missed;
    off.hidden = screen.hidden = !isSet;
    sound.hidden = !isSet || isUnlocked();
    undated.hidden = !isSet || session.start == null || session.start >= SINCE_START;
    setting.hidden = session.closed;
    element.hidden = session.closed && !alarm;
    setText(summary, isSet ? "Change the alarm" : "Alarm");
    setText(missed, alarm?.missed ? failure(alarm) : "");
    setText(state, isSet ? description(alarm) : "");
    setText(screen, isScreenKept() ? KEPT : DARK);
  }

  return { element, tick };
}

function alarmForm(onset) {
  const time = make("input", { type: "time", value: USUAL.time, required: true });
  const lengths = WINDOWS.map((value) =>
    make("option", { value, selected: value === USUAL.window }, value ? `${value} minutes` : "no window"),
  );
  const window = make("select", {}, ...lengths);
  const onsubmit = (event) => {
    event.preventDefault();
    onset(alarmAt(time.value, Number(window.value), now()));
  };
  return make(
    "form.row",
    { onsubmit },
    make("label", {}, "At the latest at ", time),
    make("label", {}, "Before that, in light sleep or awake: ", window),
    make("button.main", { type: "submit" }, "Set the alarm"),
    button("Test the sound", test),
  );
}

const dated = (time) => `${day(time)}, ${clock(time)}`;

function description({ earliest, deadline, snoozed }) {
  if (snoozed) return `Alarm snoozed until ${clock(deadline)}.`;
  const latest = `Alarm for ${dated(deadline)}, whatever the stage is`;
  if (earliest === deadline) return `${latest}.`;
  return `${latest}; from ${clock(earliest)} on as soon as you are in light sleep or awake.`;
}

function failure(alarm) {
  const { rung, deadline } = alarm;
  if (!rung) return `The alarm for ${dated(deadline)} has not rung: this page was closed, or the device slept.`;
  const stopped = "until this page was closed or the device slept: nobody has stopped it";
  return `The alarm rang from ${dated(rung.since)} (${why(alarm).toLowerCase()}) to ${clock(rung.until)}, ${stopped}.`;
}
