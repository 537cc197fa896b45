"""Sleep periods and events: each rule by hand, and any night against another way to find them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sleepstage
from sleepstage.core.hypnogram import Hypnogram
from sleepstage.core.periods import SleepEvent, SleepPeriod, SleepState, follow, sleep_periods
from sleepstage.io.sleep_accel.read import find_subjects, read_subject
from sleepstage.stages import NO_DATA, NOT_WORN, TWO_CLASS
from tests.helpers.scored import hypnogram

SLEEP, AWAKE, LOST = "l" * 20, "w" * 10, "-"


def events_of(night: Hypnogram) -> list[SleepEvent]:
    state, found = SleepState(), list[SleepEvent]()
    for epoch in night.epochs():
        state, decided = follow(state, epoch)
        found += decided
    return found


def told(letters: str) -> list[tuple[str, int, int]]:
    """Each event, the epoch that it happened with, and the one that decided it."""
    return [
        (one.kind, int(one.time) // 30, int(one.known) // 30 - 1)
        for one in events_of(hypnogram(letters))
    ]


def periods(letters: str) -> list[tuple[int, int]]:
    """First epoch of each sleep period, and the one behind its last."""
    found = sleep_periods(hypnogram(letters))
    return [(int(one.start) // 30, int(one.end) // 30) for one in found]


def test_a_watch_that_is_not_worn_is_said_at_once_and_again_once_it_was_worn() -> None:
    letters = "wwooo" + "w" * 9 + "o" + "w" * 10 + "-o"
    night = hypnogram(letters.replace("o", LOST))
    codes = [{"o": NOT_WORN, LOST: NO_DATA}.get(letter, 0) for letter in letters]
    events = events_of(replace(night, reasons=np.array(codes, dtype=np.int8)))
    found = [(one.kind, one.time, one.delay) for one in events]
    assert found == [("not_worn", 60.0, 30.0), ("not_worn", 780.0, 30.0)]
    assert {one.confidence for one in events} == {1.0}


def test_sleep_begins_with_the_first_of_twenty_epochs() -> None:
    assert told("ww" + "l" * 19 + "w") == []
    assert told("ww" + "l" * 20 + "w") == [("fell_asleep", 2, 21)]
    assert told("lllw" + "ld" * 10) == [("fell_asleep", 4, 23)]
    assert periods("ww" + "l" * 19) == []
    assert periods("ww" + "l" * 20) == [(2, 22)]


@pytest.mark.parametrize("pause", ["w", "-"])
def test_one_epoch_without_sleep_begins_the_count_anew(pause: str) -> None:
    assert told("l" * 19 + pause + "l" * 20) == [("fell_asleep", 20, 39)]


def test_waking_up_is_ten_epochs_of_wake_with_no_sleep_between() -> None:
    assert told(SLEEP + "w" * 9 + "l" + "w" * 9)[1:] == []
    assert told(SLEEP + "w" * 9 + "l" + "w" * 10)[1:] == [("woke_up", 30, 39)]
    assert told(SLEEP + "wwww" + "-" * 50 + "wwwwww")[1:] == [("woke_up", 20, 79)]


def test_what_was_not_seen_is_no_awakening() -> None:
    assert told(SLEEP + LOST * 500)[1:] == []
    assert told(SLEEP + LOST * 500 + AWAKE)[1:] == [("woke_up", 520, 529)]
    assert periods(SLEEP + LOST * 500 + AWAKE) == [(0, 20)]


def test_a_period_goes_on_after_less_than_an_hour() -> None:
    assert periods(SLEEP + "w" * 119 + SLEEP) == [(0, 159)]
    assert periods(SLEEP + "w" * 120 + SLEEP) == [(0, 20), (140, 160)]
    # Sleep that does not last neither goes on nor begins.
    assert periods(SLEEP + "w" * 100 + "l" * 19 + "w" + SLEEP) == [(0, 20), (140, 160)]


def test_a_period_ends_with_an_hour_that_was_not_seen() -> None:
    assert periods(SLEEP + LOST * 119 + "l") == [(0, 140)]
    assert periods(SLEEP + LOST * 120 + "l" * 19) == [(0, 20)]
    assert periods(SLEEP + LOST * 120 + SLEEP) == [(0, 20), (140, 160)]


def test_a_period_ends_with_the_last_epoch_of_sleep() -> None:
    assert periods(SLEEP + "wwwl" + "w" * 30) == [(0, 24)]
    assert periods(SLEEP + "w" * 10 + "lll" + "w" * 30) == [(0, 20)]  # awake by then


def test_less_than_three_hours_are_a_nap() -> None:
    short, long = sleep_periods(hypnogram("l" * 359 + "w" * 120 + "l" * 360))
    assert (short.nap, long.nap) == (True, False)
    assert short == SleepPeriod(0.0, 359 * 30.0)


def test_statistics_of_a_period() -> None:
    night = hypnogram("www" + SLEEP + "w" * 130 + SLEEP + "wwrr" + SLEEP)
    first, second = (night.statistics(mask=one.mask(night)) for one in sleep_periods(night))
    assert (first.time_in_bed, first.wake_after_sleep_onset, first.rem_latency) == (10, 0, None)
    assert (second.time_in_bed, second.wake_after_sleep_onset, second.rem_latency) == (22, 1, 11)


def test_rem_begins_with_four_epochs_of_somebody_asleep() -> None:
    assert told(SLEEP + "rrrl" + "rrrr")[1:] == [("rem_began", 24, 27)]
    assert told("w" + "l" * 4 + "r" * 16) == [("fell_asleep", 1, 20), ("rem_began", 5, 20)]
    assert told("r" * 19 + "w") == []


def test_rem_begins_again_after_fifteen_minutes_without_it() -> None:
    assert told(SLEEP + "rrrr" + "l" * 29 + "rrrr")[2:] == []
    assert told(SLEEP + "rrrr" + "l" * 30 + "rrrr")[2:] == [("rem_began", 54, 57)]


def test_an_event_says_how_sure_it_is_and_how_late() -> None:
    shares = [[0.1, 0.9, 0, 0]] * 10 + [[0.3, 0.5, 0, 0.2]] * 6 + [[0.2, 0.1, 0, 0.7]] * 4
    letters = "l" * 16 + "rrrr"
    asleep, rem = events_of(hypnogram(letters, shares))
    assert asleep.confidence == pytest.approx(1 - (1 + 1.8 + 0.8) / 20)
    assert rem.confidence == pytest.approx(0.7)
    assert (asleep.time, asleep.delay, rem.delay) == (0.0, 600.0, 120.0)
    assert rem.to_dict() == {
        "kind": "rem_began",
        "time": 480.0,
        "delay": 120.0,
        "confidence": pytest.approx(0.7),
    }


def test_what_a_model_looks_ahead_for_is_delay() -> None:
    state, found = SleepState(), list[SleepEvent]()
    for epoch in hypnogram(SLEEP).epochs():
        state, decided = follow(state, epoch, look_ahead=3)
        found += decided
    assert [(one.time, one.delay) for one in found] == [(0.0, 690.0)]


def test_classes_without_rem_have_periods_too() -> None:
    night = hypnogram("w" + SLEEP + "rrrr").merge(TWO_CLASS)
    assert [one.kind for one in events_of(night)] == ["fell_asleep"]
    assert sleep_periods(night) == (SleepPeriod(30.0, 750.0),)


runs = st.lists(st.tuples(st.sampled_from("wldr-"), st.integers(1, 45)), max_size=25)
nights = runs.map(lambda found: "".join(letter * n for letter, n in found))


@given(nights)
def test_the_rules_as_patterns_find_the_same(letters: str) -> None:
    if "-" * 100 in letters:
        letters = letters.replace("-", "w")
    expected, at = list[tuple[str, int]](), 0
    for kind, pattern in [("fell_asleep", "[ldr]{20}"), ("woke_up", "w(-*w){9}")] * 30:
        match = re.compile(pattern).search(letters, at)
        if match is None:
            break
        expected.append((kind, match.start()))
        at = match.end()
    found = [(kind, time) for kind, time, _ in told(letters) if kind != "rem_began"]
    assert found == expected


@given(nights, st.data())
def test_what_comes_later_changes_no_event(letters: str, data: st.DataObject) -> None:
    until = data.draw(st.integers(0, len(letters)))
    whole = told(letters)
    assert told(letters[:until]) == [one for one in whole if one[2] < until]


@given(nights)
def test_periods_are_apart_and_hold_what_happened_in_them(letters: str) -> None:
    found = periods(letters)
    edges = [edge for one in found for edge in one]
    assert edges == sorted(edges)
    assert all(end - start >= 20 for start, end in found)
    assert all(start - end >= 120 for end, start in zip(edges[1::2], edges[2::2], strict=False))
    fell = [time for kind, time, _ in told(letters) if kind == "fell_asleep"]
    assert all(any(start <= time < end for start, end in found) for time in fell)
    assert {start for start, _ in found} <= set(fell)


@pytest.mark.slow
def test_real_nights(real_data: Path) -> None:
    """Nearly each is one period; and the events against the expert."""
    n_one = n_whole = 0
    stager, errors, n_events, n_false = sleepstage.load_model(), [], Counter[str](), Counter[str]()
    for subject in find_subjects(real_data):
        night = read_subject(real_data, subject)
        assert night.reference is not None
        predicted, expert = stager.predict(night), night.reference
        (scored,), all_found = sleep_periods(expert), sleep_periods(predicted)
        found = max(all_found, key=lambda period: period.end - period.start)
        n_one += len(all_found) == 1
        assert not scored.nap
        n_whole += not found.nap
        errors.append(abs(found.start - scored.start) / 60)
        for event in events_of(predicted):
            first = round((event.time - night.start) / 30)
            around = expert.stages[max(first - 10, 0) : first + 20]
            asleep = np.mean(~np.isin(expert.stages[first : first + 20], ["wake", "unscored"]))
            awake = np.mean(expert.stages[first : first + 10] == "wake")
            n_events[event.kind] += 1
            n_false[event.kind] += {
                "fell_asleep": asleep < 0.5,
                "woke_up": awake < 0.5,
                "rem_began": "rem" not in around,
            }[event.kind]
    assert n_one >= 0.9 * len(errors)
    assert n_whole >= 0.9 * len(errors)  # of one person most of the motion is missing
    assert np.median(errors) <= 6
    assert np.quantile(errors, 0.9) <= 15
    assert n_false["fell_asleep"] <= 0.15 * n_events["fell_asleep"]
    assert n_false["woke_up"] <= 0.1 * n_events["woke_up"]
    assert n_false["rem_began"] <= 0.15 * n_events["rem_began"]
