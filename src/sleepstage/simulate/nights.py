"""Simulated nights, and days around them, as a watch would record and sleep-accel store them.

For trying things out without data, and for tests. Results on simulated nights do not carry
over to real ones.
"""

from pathlib import Path
from typing import Final

import numpy as np

from sleepstage._utils.files import write_atomically
from sleepstage.core.recording import LONGEST_NIGHT, Recording
from sleepstage.errors import DataError
from sleepstage.io.sleep_accel.read import LAYOUT, SIMULATED_MARKER, STEP_BIN_SECONDS
from sleepstage.io.source import Progress
from sleepstage.simulate import physiology
from sleepstage.simulate.physiology import Tables
from sleepstage.simulate.waking import Day, extend
from sleepstage.stages import EPOCH_SECONDS

_NOTICE: Final = "The nights in this folder are simulated by sleepstage; no person was measured.\n"
_FIRST_ID: Final = 900001
_MORE_THAN: Final = 0.5  # hours
_AT_MOST: Final = LONGEST_NIGHT // 3600
_NO_DAY: Final = Day()
_FORMATS: Final = {
    "heart_rate": "%.5f,%d",
    "labels": "%d %d",
    "steps": "%d,%d",
    "motion": "%.6f %.6f %.6f %.6f",
    "summary_csv": "%d,%s,%s,%s,%s",
}


def simulate_night(
    seed: int,
    day: Day = _NO_DAY,
    *,
    hours: float = 8.0,
    raw_motion: bool = False,
    subject: str | None = None,
) -> Recording:
    """One simulated night, with its true stages: the first of `write_dataset` with the same seed.

    The same seed, not negative, gives the same person and the same night: `hours`, more than 0.5
    and at most 24, from lights out, at time zero, to getting up. `day` is what is recorded before
    and after, beside heart rate and steps of the day before. With `raw_motion`, which allows no
    `day`, acceleration at about 50 Hz is made and summarised, rather than summaries at once: the
    same movements, a hundred times the work.

    Raises `DataError` if an argument is out of range.
    """
    night = _simulate(seed, 0, hours, day, raw_motion=raw_motion)
    signals = {name: (samples.times, samples.values) for name, samples in night.items()}
    return Recording.from_arrays(
        heart_rate=signals["heart_rate"],
        motion=signals["motion" if raw_motion else "summary_csv"],
        steps=signals["steps"],
        start=float(night["labels"].times[0]),
        stages=night["labels"].values,
        subject=f"simulated-{seed:04d}" if subject is None else subject,
        simulated=True,
    )


def write_dataset(
    directory: str | Path,
    n_subjects: int,
    *,
    seed: int = 0,
    hours: float = 8.0,
    raw_motion: bool = False,
    day: Day = _NO_DAY,
    on_progress: Progress | None = None,
) -> list[str]:
    """Write simulated nights in the layout of PhysioNet sleep-accel, and `SIMULATED_MARKER` beside.

    The same seed gives the same bytes. Nights simulated in `directory` before are overwritten,
    others never. With `raw_motion`, ``motion/`` (about 60 MB a night) is written rather than
    ``motion_15s/``. See `simulate_night` for what else is asked of the arguments.

    Returns the names of the subjects.

    Raises `DataError` if an argument is out of range, or `directory` holds other nights.
    """
    if n_subjects < 1:
        raise DataError(f"n_subjects is {n_subjects}: at least one night must be simulated")
    _check(seed, hours, day, raw_motion=raw_motion)
    directory = Path(directory)
    marker = directory / SIMULATED_MARKER
    taken = any((directory / table.folder).exists() for table in LAYOUT.values())
    if taken and not marker.exists():
        msg = f"{directory} holds nights that are not marked as simulated; name another folder"
        raise DataError(msg)
    with write_atomically(marker) as temporary:
        temporary.write_text(_NOTICE, encoding="utf-8")
    subjects = [str(_FIRST_ID + number) for number in range(n_subjects)]
    for number, subject in enumerate(subjects):
        _write_night(directory, subject, _simulate(seed, number, hours, day, raw_motion=raw_motion))
        if on_progress is not None:
            on_progress(number + 1, n_subjects, subject)
    return subjects


def _check(seed: int, hours: float, day: Day, *, raw_motion: bool) -> None:
    if not _MORE_THAN < hours <= _AT_MOST:
        msg = f"a night of {hours} hours: expected more than {_MORE_THAN} and at most {_AT_MOST}"
        raise DataError(msg)
    if seed < 0:
        raise DataError(f"seed is {seed}: expected 0 or more")
    if raw_motion and day != _NO_DAY:
        msg = "raw motion is simulated for nights only: leave out raw motion, or the day around it"
        raise DataError(msg)
    day.check(hours)


def _write_night(directory: Path, subject: str, night: Tables) -> None:
    for name, line in _FORMATS.items():
        table = LAYOUT[name]
        path = table.path(directory, subject)
        if name not in night:  # the other kind of motion, of an earlier night by this name
            path.unlink(missing_ok=True)
            continue
        header = ",".join(table.columns) if table.header else ""
        times = night[name].times - (STEP_BIN_SECONDS if name == "steps" else 0)
        rows = np.column_stack([times, night[name].values])
        with write_atomically(path) as temporary:
            np.savetxt(temporary, rows, line, header=header, comments="")


def _simulate(seed: int, number: int, hours: float, day: Day, *, raw_motion: bool) -> Tables:
    _check(seed, hours, day, raw_motion=raw_motion)
    rng = np.random.default_rng([seed, number])
    person = physiology.Person.draw(rng)
    n_epochs = int(hours * 3600 // EPOCH_SECONDS)
    history, steps = physiology.draw_day(rng, person, n_epochs * EPOCH_SECONDS)
    night = physiology.draw_sleep(rng, person, n_epochs, raw_motion=raw_motion)
    night |= {"heart_rate": history.followed_by(night["heart_rate"]), "steps": steps}
    if day != _NO_DAY:
        extend(rng, person, night, day)
    return night
