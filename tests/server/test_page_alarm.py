"""The alarm of the page and its warnings of silence, in a real browser against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from sleepstage.core.alarm import Alarm
from sleepstage.core.hypnogram import Epoch
from sleepstage.stages import EPOCH_SECONDS
from tests.helpers.browser import browsing, visiting, wait_until
from tests.helpers.serving import Server, serving

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
RINGING = "document.querySelector('dialog.ringing').open"
COUNT_SOUNDS = """() => {
    window.sounds = 0;
    const { start, stop } = AudioBufferSourceNode.prototype;
    AudioBufferSourceNode.prototype.start = function (...given) {
        window.sounds += 1;
        start.apply(this, given);
    };
    AudioBufferSourceNode.prototype.stop = function (...given) {
        window.sounds -= 1;
        stop.apply(this, given);
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("alarm")) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page whose modules can be imported."""
    with visiting(browser, server.url) as page:
        page.locator("h1").wait_for()
        yield page


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


def run(page: Page, module: str, body: str, given: Any = None) -> Any:
    """What JavaScript that uses a module of the page makes of what is given."""
    return page.evaluate(
        f"async given => {{ const the = await import('/page/{module}'); {body} }}", given
    )


def open_session(server: Server, **given: Any) -> str:
    answer = httpx2.post(f"{server.url}/v1/sessions", json=given, timeout=30)
    session: str = answer.json()["id"]
    return session


def push(server: Server, session: str, name: str, message: dict[str, Any]) -> None:
    path = f"{server.url}/v1/sessions/{session}/messages/{name}"
    assert httpx2.put(path, json=message, timeout=60).status_code == 201


def set_alarm(page: Page, time: str, window: str = "30 minutes") -> None:
    page.get_by_text("Alarm", exact=True).click()
    page.get_by_label("At the latest at").fill(time)
    page.get_by_label("Before that").select_option(window)
    page.get_by_role("button", name="Set the alarm").click()
    page.get_by_role("button", name="Turn off").wait_for()


# The rule and the clock


def test_it_rings_by_the_rule_of_the_library(page: Page) -> None:
    alarms = [(1000.0, 2800.0), (1000.0, 1000.0)]
    nows = [0.0, 999.9, 1000.0, 1000.1, 1500.0, 2799.9, 2800.0, 1e6]
    times = [-100.0, 969.9, 970.0, 970.1, 1000.0, 1460.0, 2760.0]
    stages = ["wake", "light", "deep", "rem", "unscored"]
    cases = [*product(alarms, nows, times, stages), *product(alarms, nows, [None], [""])]
    given = [
        [*alarm, now, None if time is None else {"time": time, "stage": stage}]
        for alarm, now, time, stage in cases
    ]
    reasons = run(
        page,
        "alarm.js",
        "return given.map(([earliest, deadline, now, newest]) =>"
        " the.reason({ earliest, deadline }, now, newest));",
        given,
    )
    assert {"", "awake", "light", "deadline"} == set(reasons)
    for (alarm, now, time, stage), reason in zip(cases, reasons, strict=True):
        newest = None if time is None else Epoch(time, stage, {"wake": 1.0}, 1.0)
        assert reason == Alarm(*alarm).reason(now, newest), (alarm, now, time, stage)


@pytest.mark.parametrize(
    ("now", "time", "window", "earliest", "deadline"),
    [
        ("2026-01-10 23:00", "07:00", 30, "2026-01-11 06:30", "2026-01-11 07:00"),
        ("2026-01-11 01:00", "07:00", 0, "2026-01-11 07:00", "2026-01-11 07:00"),
        ("2026-01-11 06:50", "07:00", 45, "2026-01-11 06:50", "2026-01-11 07:00"),
        ("2026-01-11 07:00", "07:00", 15, "2026-01-12 06:45", "2026-01-12 07:00"),
        # Clocks go forward at 02:00, and back at 03:00.
        ("2026-03-28 23:00", "07:00", 30, "2026-03-29 06:30", "2026-03-29 07:00"),
        ("2026-03-29 03:45", "02:30", 0, "2026-03-30 02:30", "2026-03-30 02:30"),
        ("2026-10-24 23:00", "07:00", 30, "2026-10-25 06:30", "2026-10-25 07:00"),
    ],
)
def test_a_time_of_the_clock_is_the_next_one(
    page: Page, now: str, time: str, window: int, earliest: str, deadline: str
) -> None:
    made = run(page, "alarm.js", "return the.alarmAt(...given);", [time, window, berlin(now)])
    assert made == {"earliest": berlin(earliest), "deadline": berlin(deadline)}


def test_it_goes_on_until_it_is_stopped_and_is_missed_where_no_page_was_there(page: Page) -> None:
    def advance(alarm: dict[str, Any], *given: Any) -> dict[str, Any]:
        advanced: dict[str, Any] = run(
            page, "alarm.js", "return the.advance(...given);", [alarm, *given]
        )
        return advanced

    alarm = {"earliest": 1000, "deadline": 2800}
    assert advance(alarm, 2000) == alarm
    rung = advance(alarm, 2000, {"time": 1960, "stage": "light"})
    assert rung["rung"] == {"why": "light", "since": 2000, "until": 2000}
    later = advance(rung, 3000, {"time": 2960, "stage": "deep"})
    assert later["rung"] == {"why": "light", "since": 2000, "until": 3000}
    assert "missed" not in later
    # A page that was closed for long, and a device that slept.
    assert "missed" not in advance(later, 3060, None, 60)
    assert advance(later, 3061, None, 60)["missed"]
    assert advance(alarm, 2860, None, 60)["rung"]["why"] == "deadline"
    assert advance(alarm, 2861, None, 60)["missed"]
    assert advance(alarm, 2800 + 1800)["rung"]["why"] == "deadline"
    missed = advance(alarm, 2800 + 1801)
    assert missed["missed"]
    assert "rung" not in missed
    assert advance(missed, 1e9) == missed


def test_the_sound_swells_and_repeats(page: Page) -> None:
    loudest = run(
        page,
        "bell.js",
        """
        const context = new OfflineAudioContext(1, 8000 * 66, 8000);
        the.play(context, 60);
        const samples = (await context.startRendering()).getChannelData(0);
        const peak = (second) =>
            samples.slice(8000 * second, 8000 * (second + 2)).reduce((a, b) => Math.max(a, b), 0);
        return [0, 20, 40, 60, 64].map(peak);
        """,
    )
    assert 0 < loudest[0] < 0.05
    assert loudest == sorted(loudest)
    assert 0.8 < loudest[-1] <= 1


def test_the_screen_is_kept_on_for_as_long_as_it_must_be(page: Page) -> None:
    kept = run(
        page,
        "bell.js",
        """
        const locks = [];
        const request = async () => {
            locks.push({ released: false, release() { this.released = true; } });
            return locks.at(-1);
        };
        Object.defineProperty(navigator, "wakeLock", { configurable: true, value: { request } });
        const screen = the.screen();
        const kept = [];
        const keep = async (wanted) => {
            screen.keep(wanted);
            await new Promise((resolve) => setTimeout(resolve));
            kept.push([screen.isKept(), locks.length]);
        };
        await keep(false);
        await keep(true);
        await keep(true);
        locks[0].released = true; // as a browser does when the page is hidden
        await keep(true);
        await keep(false);
        delete navigator.wakeLock;
        return kept;
        """,
    )
    assert kept == [[False, 0], [True, 1], [True, 1], [True, 2], [False, 2]]


# Silence


def test_what_does_not_come_is_warned_of(page: Page) -> None:
    start = berlin("2026-01-11 02:00")

    def silences(beats: list[float | None], silent: float = 0, **session: Any) -> list[str]:
        epochs = [
            {"time": start + EPOCH_SECONDS * number, "heart_rate": beat}
            for number, beat in enumerate(beats)
        ]
        night = {"session": {"heard": start + 840, "start": start, **session}, "epochs": epochs}
        texts: list[str] = run(
            page, "warnings.js", "return the.silences(...given);", [night, silent]
        )
        return texts

    assert silences([]) == ["", ""]
    assert silences([], 300) == ["", ""]
    nothing, pulse = silences([60.0], 301)
    assert nothing.startswith("Nothing from the watch for more than 5 minutes (last: 02:14)")
    assert pulse == ""
    assert silences([60.0, *[None] * 19]) == ["", ""]
    _, pulse = silences([60.0, 60.0, *[None] * 20])
    assert pulse.startswith("No heart rate for more than 10 minutes (last: 02:00)")
    # The same words for as long as it lasts, so that they are read out once.
    assert silences([60.0, 60.0, *[None] * 90])[1] == pulse
    assert silences([60.0, *[None] * 90, 60.0]) == ["", ""]
    assert "none so far" in silences([None] * 20)[1]
    assert silences([None] * 90, 1000, closed=True) == ["", ""]


def test_silence_is_announced_and_over_when_the_watch_is_back(
    browser: Browser, server: Server
) -> None:
    session = open_session(server, start=0)
    push(server, session, "1", {"motion": [[5.0 * n, 0.0, n % 2, 1.0] for n in range(180)]})
    ago = 400

    def age(route: Any) -> None:
        answer = route.fetch()
        night = answer.json()
        night["session"]["heard"] -= ago
        route.fulfill(response=answer, json=night)

    with visiting(browser, server.url) as page:
        page.route("**/hypnogram*", age)
        page.goto(f"{server.url}/#/sessions/{session}")
        status = page.locator(".silence")
        status.get_by_text("Nothing from the watch").wait_for()
        status.get_by_text("No heart rate for more than 10 minutes (none so far)").wait_for()
        assert status.get_attribute("role") == "status"
        page.evaluate(
            "new MutationObserver(() => (window.spoken = true)).observe("
            "document.querySelector('.silence'), { subtree: true, childList: true })"
        )
        page.wait_for_timeout(2500)  # it is drawn each second
        assert page.evaluate("window.spoken") is None
        ago = 0
        push(server, session, "2", {"heart_rate": [[900.0 + n, 60.0] for n in range(60)]})
        wait_until(page, "document.querySelector('.silence').innerText.trim() === ''")
        page.unroute_all(behavior="wait")


# The alarm


@pytest.fixture(scope="module")
def night(server: Server) -> dict[str, Any]:
    """The samples of the demo night."""
    samples: dict[str, Any] = httpx2.get(f"{server.url}/v1/demo", timeout=60).json()
    return samples


def part(night: dict[str, Any], start: float, begin: float, end: float) -> dict[str, Any]:
    """A message of what was measured between two times of the night, to be moved to its start."""
    return {
        name: [[time + start, *values] for time, *values in night[name] if begin < time <= end]
        for name in ("heart_rate", "motion", "steps")
    }


def into_light(epochs: list[dict[str, Any]]) -> float:
    """When the first epoch of light sleep ends that follows three minutes of deep sleep or REM."""
    stages = [epoch["stage"] for epoch in epochs]
    for number in range(6, len(stages)):
        if stages[number] == "light" and {*stages[number - 6 : number]} <= {"deep", "rem"}:
            return float(epochs[number]["time"] + EPOCH_SECONDS)
    msg = "there is no such epoch"
    raise AssertionError(msg)


def test_it_rings_in_light_sleep_and_not_before(
    browser: Browser, server: Server, night: dict[str, Any]
) -> None:
    start = 60 * (datetime.now().timestamp() // 60) - night["seconds"]
    first = open_session(server, start=start)
    push(server, first, "all", part(night, start, -1e9, night["seconds"]))
    answer = httpx2.get(f"{server.url}/v1/sessions/{first}/hypnogram", timeout=60)
    light = into_light(answer.json()["epochs"])

    session = open_session(server, start=start)
    earliest = 60 * ((light - 60) // 60)  # so that there is an epoch in the window before
    before = light - start - 20  # its samples are there, without the last
    push(server, session, "1", part(night, start, -1e9, earliest - start))
    clock = earliest - 90
    with visiting(browser, f"{server.url}/#/sessions/{session}", clock=clock) as page:
        page.locator("h1").wait_for()
        page.evaluate(COUNT_SOUNDS)
        at = datetime.fromtimestamp(earliest + 900, ZoneInfo("Europe/Berlin"))
        set_alarm(page, f"{at:%H:%M}", "15 minutes")
        page.clock.set_fixed_time(earliest + 40)
        push(server, session, "2", part(night, start, earliest - start, before))
        n_epochs = httpx2.get(f"{server.url}/v1/sessions/{session}").json()["n_epochs"]
        shown = "document.querySelector('.stage').dataset.stage"
        wait_until(page, f"['deep', 'rem'].includes({shown})")
        page.wait_for_timeout(1500)
        assert not page.evaluate(RINGING)
        page.evaluate("window.requestAnimationFrame = () => 0")  # as in a tab in the background
        page.clock.set_fixed_time(light + 10)
        push(server, session, "3", part(night, start, before, light - start + 10))
        page.get_by_role("alertdialog").get_by_text("Light sleep").wait_for()
        assert page.evaluate("window.sounds") == 1
        page.keyboard.press("Escape")  # as somebody half asleep might
        assert not page.evaluate(RINGING)
        assert page.evaluate("window.sounds") == 0
        page.get_by_text("Alarm snoozed until").wait_for()
        page.clock.set_fixed_time(light + 10 + 9 * 60)
        page.get_by_role("alertdialog").get_by_text("The snooze is over").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert not page.evaluate(RINGING)
        assert page.evaluate("window.sounds") == 0
        assert page.evaluate("localStorage.length") == 0
    assert n_epochs > 0


def test_it_rings_at_the_deadline_without_a_server(browser: Browser, tmp_path: Path) -> None:
    evening = berlin("2026-01-10 23:00")
    with serving(tmp_path) as server:
        session = open_session(server)
        address = f"{server.url}/#/sessions/{session}"
        with visiting(browser, address, clock=evening) as page:
            page.locator("h1").wait_for()
            set_alarm(page, "07:00")
            state = "Alarm for Sun 11 Jan, 07:00, whatever the stage is; from 06:30 on"
            page.get_by_text(state).wait_for()
            page.reload()
            page.get_by_text(state).wait_for()
            page.get_by_text("No sound yet").wait_for()
            page.get_by_text(state).click()
            page.get_by_text("No sound yet").wait_for(state="hidden")
            page.evaluate(COUNT_SOUNDS)
            server.kill()
            page.clock.set_system_time(berlin("2026-01-11 06:59:50"))
            page.wait_for_timeout(1500)
            assert not page.evaluate(RINGING)
            page.clock.set_system_time(berlin("2026-01-11 07:00:00"))
            page.get_by_role("alertdialog").get_by_text("The time has come").wait_for()
            assert page.evaluate("window.sounds") == 1
            page.get_by_role("button", name="Stop").click()
            assert page.evaluate("window.sounds") == 0


def test_a_deadline_that_passed_while_the_page_was_closed_is_reported(
    browser: Browser, server: Server
) -> None:
    session = open_session(server)
    address = f"{server.url}/#/sessions/{session}"
    with visiting(browser, address, clock=berlin("2026-01-10 23:00")) as page:
        page.locator("h1").wait_for()
        set_alarm(page, "07:00", "no window")
        page.goto("about:blank")
        page.clock.set_system_time(berlin("2026-01-11 09:30"))
        page.goto(address)
        page.get_by_text("The alarm for Sun 11 Jan, 07:00 has not rung").wait_for()
        page.wait_for_timeout(1500)
        assert not page.evaluate(RINGING)
        page.get_by_role("button", name="Understood").click()
        assert page.evaluate("localStorage.length") == 0


def test_it_rings_on_the_list_of_nights_too_and_says_where_the_screen_goes_dark(
    browser: Browser, server: Server
) -> None:
    session = open_session(server)
    evening = berlin("2026-01-10 23:00")
    with visiting(browser, f"{server.url}/#/sessions/{session}", clock=evening) as page:
        page.locator("h1").wait_for()
        page.evaluate("Object.defineProperty(navigator, 'wakeLock', { value: undefined })")
        page.evaluate(COUNT_SOUNDS)
        page.get_by_text("Alarm", exact=True).click()
        page.get_by_role("button", name="Test the sound").click()
        wait_until(page, "window.sounds === 0")  # started, and its end is set
        page.get_by_text("Alarm", exact=True).click()
        set_alarm(page, "07:00")
        page.get_by_text("This browser does not keep the screen on").wait_for()
        page.get_by_role("link", name="sleepstage").click()
        page.get_by_role("heading", name="Nights").wait_for()
        page.clock.set_system_time(berlin("2026-01-11 07:00:01"))
        page.get_by_role("alertdialog").wait_for()
        page.get_by_role("button", name="Snooze 9 minutes").click()
        page.clock.set_system_time(berlin("2026-01-11 07:09:02"))
        page.get_by_role("alertdialog").get_by_text("The snooze is over").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone(browser: Browser, server: Server, scheme: Any) -> None:
    session = open_session(server)
    address = f"{server.url}/#/sessions/{session}"
    evening = berlin("2026-01-10 23:00")
    width = "document.documentElement.scrollWidth"
    with visiting(browser, address, clock=evening, viewport=PHONE, color_scheme=scheme) as page:
        page.locator("h1").wait_for()
        page.get_by_text("Alarm", exact=True).click()
        assert page.evaluate(width) <= PHONE["width"]
        page.get_by_text("Alarm", exact=True).click()
        set_alarm(page, "07:00")
        assert page.evaluate(width) <= PHONE["width"]
        page.clock.set_system_time(berlin("2026-01-11 07:00:01"))
        dialog = page.get_by_role("alertdialog", name="Alarm, 07:00")
        dialog.wait_for()
        box = dialog.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
