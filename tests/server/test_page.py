"""The page, in a real browser against a real server."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest

from tests.helpers.apple_export import beats, moment, sleep, write_zip
from tests.helpers.browser import browsing, has_played, play_demo, visiting, wait_until
from tests.helpers.serving import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

STYLE = Path(__file__).parents[2] / "src/sleepstage/server/web/style.css"
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}
# Linear RGB as people see it who lack one kind of cone (Machado et al. 2009, severity 1).
VISIONS = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
STAGES = {"wake": "Wake", "rem": "REM", "light": "Light", "deep": "Deep"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture(scope="module")
def night(browser: Browser, server: Server) -> str:
    """A demo night that was played to its end; its session."""
    with visiting(browser, server.url) as page:
        session = play_demo(page)
        page.get_by_text("The night is over.").wait_for(timeout=120_000)
    return session


def hypnogram(server: Server, session: str) -> dict[str, Any]:
    answer = httpx2.get(f"{server.url}/v1/sessions/{session}/hypnogram", timeout=30)
    assert answer.status_code == 200
    night: dict[str, Any] = answer.json()
    return night


def epoch_rows(page: Page) -> list[list[str]]:
    """The table of epochs as it is shown, each row with its cells."""
    details = page.locator("details", has_text="All epochs as a table")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
        details.locator("tbody tr").first.wait_for()
    rows: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('details tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def in_words(minutes: float) -> str:
    whole = int(minutes + 0.5)
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60:02} min"


def test_a_night_that_was_played_is_shown_as_the_api_has_it(
    browser: Browser, server: Server, night: str
) -> None:
    known = hypnogram(server, night)
    assert len(known["epochs"]) == known["session"]["n_epochs"] > 900
    with visiting(browser, f"{server.url}/#/sessions/{night}") as page:
        page.locator(".stage").wait_for()
        sleep = known["statistics"]["total_sleep_time"]
        assert page.locator(".stage").inner_text() == in_words(sleep)
        assert [row[1] for row in epoch_rows(page)] == [
            STAGES[epoch["stage"]] for epoch in known["epochs"]
        ]
        statistics = page.locator(".tables").inner_text()
        for minutes in known["statistics"]["minutes"].values():
            assert in_words(minutes) in statistics
        assert page.locator("canvas").count() == 5
        page.get_by_label("Read again as a whole").check()
        assert [row[1] for row in epoch_rows(page)] == [
            STAGES[epoch["stage"]] for epoch in known["night"]["epochs"]
        ]
        whole = known["night"]["statistics"]["total_sleep_time"]
        assert page.locator(".stage").inner_text() == in_words(whole)
        assert page.locator(".simulated").inner_text().startswith("SIMULATED")


def test_a_night_under_way_tells_the_current_stage(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url) as page:
        session = play_demo(page, "600")
        wait_until(page, "Boolean(document.querySelector('.stage')?.dataset.stage)")
        page.get_by_role("button", name="Stop playing").click()
        page.wait_for_timeout(3500)
        known = hypnogram(server, session)
        assert page.locator(".stage").inner_text() == STAGES[known["epochs"][-1]["stage"]]
        assert len(epoch_rows(page)) == len(known["epochs"])
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="End the night").click()
        page.get_by_text("The night is over.").wait_for()
        assert hypnogram(server, session)["session"]["closed"]
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("heading", name="Nights").wait_for()
    assert httpx2.get(f"{server.url}/v1/sessions/{session}").status_code == 404


def test_it_recovers_when_the_server_is_killed_and_comes_back(
    browser: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path) as server, visiting(browser, server.url) as page:
        session = play_demo(page, "600")
        has_played(page, 0.1)
        server.kill()
        page.get_by_text("Connection lost").wait_for(timeout=30_000)
        page.wait_for_timeout(1000)
        server.start()
        has_played(page, 0.4)
        page.get_by_text("Connection lost").wait_for(state="hidden", timeout=30_000)
        page.get_by_role("button", name="Stop playing").click()
        page.wait_for_timeout(4000)
        known = hypnogram(server, session)
        shown = epoch_rows(page)
        assert len(shown) == len(known["epochs"]) > 380
        assert [row[1] for row in shown] == [STAGES[epoch["stage"]] for epoch in known["epochs"]]
        times = [epoch["time"] for epoch in known["epochs"]]
        assert times == [times[0] + 30 * number for number in range(len(times))]


def test_a_token_is_asked_for_and_a_link_only_shows(browser: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sleepstage", "token", "add", "ada"]
    store = ["--store", str(tmp_path / "store")]
    made = subprocess.run([*command, *store], capture_output=True, text=True, check=True)
    secret = made.stdout.strip()
    headers = {"Authorization": f"Bearer {secret}"}
    # Whether a viewer still may look is asked at each sign of life.
    often = "from sleepstage.server import sessions\nsessions._LIFE_SECONDS = 1.0"
    with (
        serving(tmp_path, prepare=often) as server,
        httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client,
    ):
        session = client.post("/v1/sessions", json={"label": "Ada's night"}).json()["id"]
        link = client.post(f"/v1/sessions/{session}/links", json={}).json()
        with visiting(browser, server.url) as page:
            page.get_by_label("Token").fill("wrong")
            page.get_by_role("button", name="Open").click()
            page.get_by_text("unknown, expired or revoked").wait_for()
            page.get_by_label("Token").fill(secret)
            page.get_by_role("button", name="Open").click()
            page.get_by_text("Ada's night").wait_for()
        with visiting(browser, server.url + link["page"]) as page:
            page.get_by_role("heading", name="Ada's night").wait_for()
            assert page.get_by_role("button").all_inner_texts() == ["Dark", "Download as CSV"]
            client.delete(f"/v1/sessions/{session}/links/{link['id']}")
            page.get_by_role("heading", name="not valid any more").wait_for(timeout=60_000)
            assert "Ada" not in page.content()


def test_a_gap_is_no_stage_and_a_label_is_no_html(browser: Browser, server: Server) -> None:
    label = "<img src=/x onerror=alert(1)>"
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        opened = client.post("/v1/sessions", json={"label": label, "start": 0}).json()["id"]
        beats = [[60.0 * minute, 60.0] for minute in (*range(10), *range(90, 100))]
        path = f"/v1/sessions/{opened}/messages"
        assert client.put(f"{path}/1", json={"heart_rate": beats}).status_code == 201
    stages = [epoch["stage"] for epoch in hypnogram(server, opened)["epochs"]]
    assert "unscored" in stages
    with visiting(browser, f"{server.url}/#/sessions/{opened}") as page:
        page.locator("h1").wait_for()
        assert page.locator("h1").inner_text() == label
        rows = epoch_rows(page)
        assert [row[1] for row in rows] == [
            {**STAGES, "unscored": "No data"}[one] for one in stages
        ]
        gaps = [row for row in rows if row[1] == "No data"]
        assert {cell for row in gaps for cell in row[2:7]} == {"\N{EN DASH}"}
        assert rows[2][0] == "0:01"
        assert "No data" in page.locator(".tables").inner_text()


def test_samples_that_do_not_count_are_warned_of(browser: Browser, server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        path = "/v1/sessions/" + client.post("/v1/sessions", json={"start": 0}).json()["id"]
        with visiting(browser, f"{server.url}/#{path[3:]}") as page:
            page.locator("h1").wait_for()
            assert page.get_by_role("heading", name="Warnings").count() == 0
            beats = [[5.0 * number, 60.0] for number in range(60)]
            given = {"heart_rate": [*beats, [300.0, 0.0], [-1e9, 60.0]]}
            client.put(f"{path}/messages/1", json=given)
            page.get_by_role("heading", name="Warnings").wait_for(timeout=30_000)
            told = page.locator(".warnings li").all_inner_texts()
        known = client.get(path).json()["warnings"]
    assert [one["kind"] for one in known] == ["stale", "heart_rate_implausible"]
    assert told == [one["detail"] for one in known]


def test_links_are_made_and_revoked_on_the_page(
    browser: Browser, server: Server, night: str
) -> None:
    with visiting(browser, f"{server.url}/#/sessions/{night}") as page:
        page.get_by_role("button", name="Share a link to look").click()
        address = page.get_by_label("Address of the link").input_value()
        assert address.startswith(f"{server.url}/#/sessions/{night}/")
        page.get_by_role("button", name="Revoke").click()
        page.get_by_text("There are no links").wait_for()


def test_the_hypnogram_can_be_downloaded(browser: Browser, server: Server, night: str) -> None:
    with visiting(browser, f"{server.url}/#/sessions/{night}") as page:
        with page.expect_download() as given:
            page.get_by_role("button", name="Download as CSV").click()
        head, *rows = given.value.path().read_text().splitlines()
    assert head.split(",")[:2] == ["time", "stage"]
    assert head.endswith("simulated")
    known = hypnogram(server, night)["epochs"]
    assert [row.split(",")[1] for row in rows] == [epoch["stage"] for epoch in known]


def test_everything_can_be_reached_by_keyboard(
    browser: Browser, server: Server, night: str
) -> None:
    with visiting(browser, f"{server.url}/#/sessions/{night}") as page:
        page.get_by_role("button", name="Delete").wait_for()
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    "(one => one.getAttribute('role') || one.innerText || one.type)"
                    "(document.activeElement)"
                )
            )
        for control in (
            "Skip to the night",
            "sleepstage",
            "Dark",
            "radio",
            "slider",
            "All epochs as a table",
            "Share a link to look",
            "Delete",
        ):
            assert control in reached
        page.locator(".charts").focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        known = hypnogram(server, night)["epochs"][-2]
        said = page.locator(".charts").get_attribute("aria-valuetext") or ""
        assert f" {STAGES[known['stage']]} " in said
        assert page.locator(".readout").inner_text() == said
        assert (
            page.locator(".charts").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_on_any_screen_and_names_its_parts(
    browser: Browser, server: Server, night: str, size: Any, scheme: Any
) -> None:
    for path in ("/", f"/#/sessions/{night}"):
        with visiting(browser, server.url + path, viewport=size, color_scheme=scheme) as page:
            page.locator("h1").wait_for()
            assert page.locator("h1").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert page.evaluate("document.documentElement.dataset.theme") == scheme
            assert page.locator("html").get_attribute("lang") == "en"
            nameless = page.evaluate(
                "[...document.querySelectorAll('button,select,input,a')].filter(one =>"
                " !(one.textContent.trim() || one.getAttribute('aria-label')"
                " || one.labels?.length)).length"
            )
            assert nameless == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_from_the_ground(theme: str) -> None:
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", STYLE.read_text())
    colours = dict(re.findall(r"--(\w+): (#\w{6});", blocks[theme == "dark"]))
    for name, least in {"ink": 4.5, "quiet": 4.5, "accent": 4.5, "alarm": 4.5}.items():
        assert contrast(colours[name], colours["ground"]) >= least, name
    for stage in STAGES:  # graphics and very large letters
        assert contrast(colours[stage], colours["ground"]) >= 3, stage


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_stages_can_be_told_apart_by_any_eye(theme: str, vision: str) -> None:
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", STYLE.read_text())
    colours = dict(re.findall(r"--(\w+): (#\w{6});", blocks[theme == "dark"]))
    seen = {
        stage: perceived(np.array(VISIONS[vision]) @ linear(colours[stage])) for stage in STAGES
    }
    for one, other in combinations(STAGES, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 0.09, (one, other)


def perceived(rgb: Any) -> Any:
    """Linear RGB in Oklab, where distances are as large as they look."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return axes @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def contrast(one: str, other: str) -> float:
    """Contrast ratio by the Web Content Accessibility Guidelines 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def linear(colour: str) -> Any:
    """Red, green and blue as amounts of light."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def test_an_export_is_dropped_and_its_nights_appear(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    bed = moment("2024-03-12 23:00:00 +0100")
    slept = beats(bed, bed + 8 * 3600) + sleep(bed, bed + 8 * 3600, "InBed")
    content = base64.b64encode(write_zip(tmp_path / "export.zip", slept).read_bytes()).decode()
    dropping = """([content, name, type]) => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
        const event = new DragEvent("drop", { dataTransfer: data, bubbles: true });
        document.querySelector(".drop").dispatchEvent(event);
    }"""
    with visiting(browser, server.url, viewport=PHONE) as page:
        part = page.get_by_role("region", name="Exports")
        part.get_by_role("button", name="Choose a file").wait_for()
        page.evaluate(dropping, ["AAAA", "<b>picture.png", "image/png"])
        part.get_by_text("Not a recording. Drop export.zip").wait_for()
        part.get_by_role("button", name="Close").click()
        page.evaluate(dropping, [content, "export.zip", "application/zip"])
        night = part.get_by_text("export-2024-03-13")
        night.wait_for(timeout=600_000)
        night.click()
        picture = "document.querySelector('.export img')?.naturalWidth > 100"
        wait_until(page, picture)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        with page.expect_popup() as popup:
            part.get_by_role("link", name="All on one page").click(timeout=600_000)
        assert popup.value.get_by_role("heading", name="1 night").is_visible()
        assert popup.value.evaluate("getComputedStyle(document.body).margin") == "0px"
        page.once("dialog", lambda asked: asked.accept())
        part.get_by_role("button", name="Delete").click()
        night.wait_for(state="detached")
    assert httpx2.get(f"{server.url}/v1/exports").json() == []
