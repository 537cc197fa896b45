from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sleepstage import Hypnogram, Recording, load_model

UNIX = 1774735200.0
NIGHT = Recording.from_arrays(
    heart_rate=([UNIX, UNIX + 40], [60, 61]),
    start=UNIX,
    stages=[0, 2],
    subject="46343",
    utc_offset=3600,
)


def test_a_recording_shows_whose_it_is_and_how_much() -> None:
    assert repr(NIGHT) == (
        "<Recording of 46343 from 2026-03-28T23:00:00+01:00 to 2026-03-28T23:01:00+01:00: "
        "2 epochs, scored; samples: 2 heart rate, 0 motion, 0 steps>"
    )


def test_a_hypnogram_shows_its_length() -> None:
    night = Hypnogram.from_stages([0, 2], start=-30.0)
    assert repr(night) == "<Hypnogram from -30 s: 2 epochs in five_class>"
    night = replace(night, subject="me", start=UNIX)
    assert repr(night) == (
        "<Hypnogram of me from 2026-03-28T22:00:00+00:00: 2 epochs in five_class>"
    )


@pytest.mark.parametrize("start", [-1e11, 0.0, 1e12, np.inf])
def test_any_time_can_be_shown(start: float) -> None:
    assert "\n" not in repr(Hypnogram.from_stages([0], start=start))


def test_a_session_shows_how_far_it_is() -> None:
    session = load_model("live").session(start=UNIX)
    session.push(heart_rate=([UNIX, UNIX + 40], [60, 61]))
    assert repr(session) == (
        "<Session from 2026-03-28T22:00:00+00:00: 1 epochs up to 2026-03-28T22:00:30+00:00, "
        "2 samples>"
    )


def test_a_model_shows_what_it_is_for() -> None:
    live, night = load_model("live"), load_model("night")
    assert repr(live) == f"<Stager {live.digest[:12]}: live, four_class, 54 features>"
    assert repr(night).startswith(f"<Stager {night.digest[:12]}: whole nights, four_class, ")
