"""A real browser without a window, for tests of the page; and the pictures of it in the documents.

``python -m tests.helpers.browser`` writes the pictures to docs/figures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browsing() -> Iterator[Browser]:
    """Give a browser; skip the test where there is none, unless in continuous integration."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"no browser; install one of {', '.join(NAMES)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(
    browser: Browser, url: str, *, clock: float | None = None, **context: Any
) -> Iterator[Page]:
    """Give a page of its own; in the end it must have had no error and asked nobody else.

    With `clock`, in Unix seconds, its time goes on from there, and can be set by ``page.clock``.
    """
    own = (url.split("/#")[0], "blob:", "data:")
    given = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **context)
    page = given.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if _is_grave(said) else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url),
    )
    try:
        if clock is not None:
            page.clock.install(time=clock)
        page.goto(url)
        yield page
    finally:
        given.close()
    assert complaints == []


def _is_grave(said: Any) -> bool:
    # That the server does not answer, or refuses, is logged by the browser itself.
    # A server that was killed refuses its icon, too, which the browser may ask for at any time.
    expected = said.text.startswith("Failed to load resource") and (
        "/v1/" in said.location["url"] or "ERR_CONNECTION_REFUSED" in said.text
    )
    return said.type in {"error", "warning"} and not expected


def play_demo(page: Page, speed: str = "Infinity") -> str:
    """Begin a demo night, and give its session."""
    page.get_by_label("Speed of the demo").select_option(speed)
    page.get_by_role("button", name="Play a demo night").click()
    page.wait_for_url("**/#/sessions/*")
    return page.url.rsplit("/", 1)[1]


def wait_until(page: Page, expression: str, *, seconds: float = 60.0) -> None:
    """Wait until an expression is true; the page's policy keeps playwright's own way out."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(100)


def has_played(page: Page, share: float) -> None:
    """Wait until so much of the demo night was played."""
    wait_until(page, f"document.querySelector('progress')?.value > {share}")


def take_pictures() -> None:
    """Write the pictures of a simulated night that are in the documents."""
    sys.path.insert(0, str(FIGURES.parents[1]))
    from tests.helpers.serving import serving

    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        browsing() as browser,
    ):
        desktop = {"width": 1200, "height": 1300}
        with visiting(browser, server.url, viewport=desktop, color_scheme="light") as page:
            session = play_demo(page)
            # Not before sleep has shown all its stages.
            has_played(page, 0.62)
            page.get_by_role("button", name="Stop playing").click()
            page.wait_for_timeout(3000)
            page.screenshot(path=FIGURES / "page-desktop.png")
        address = f"{server.url}/#/sessions/{session}"
        with visiting(browser, address, viewport=desktop, color_scheme="dark") as page:
            page.wait_for_timeout(1000)
            page.screenshot(path=FIGURES / "page-dark.png")
        phone = {"width": 390, "height": 844}
        with visiting(browser, address, viewport=phone, color_scheme="dark") as page:
            page.wait_for_timeout(1000)
            page.screenshot(path=FIGURES / "page-phone.png")


def take_overview() -> None:
    """Write the picture of many simulated nights on one page."""
    from sleepstage.simulate.nights import write_dataset

    with tempfile.TemporaryDirectory() as folder, browsing() as browser:
        write_dataset(Path(folder, "nights"), 14, seed=5)
        command = [sys.executable, "-m", "sleepstage", "score", "nights", "--no-pictures"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(Path(folder, "scored", "index.html").as_uri())
        page.screenshot(path=FIGURES / "nights.png")


if __name__ == "__main__":
    take_pictures()
    take_overview()
