"""Raw acceleration in files of devices: Axivity, ActiGraph and Empatica EmbracePlus.

- Axivity's ``.cwa`` by cwa-reader-rs, never resampled: that draws curves through gaps.
- ActiGraph's ``.gt3x`` by pygt3x; in idle sleep mode it repeats the last sample, which is left out.
- Empatica's ``.avro`` by fastavro, files of half an hour; a participant's are read together.

The first two have the clock of the computer that started them, which is taken as UTC.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sleepstage.errors import needs_extra
from sleepstage.io.files import MAX_ROWS, beginning_of, explaining
from sleepstage.io.source import Floats, Source, StoredNight, nights_in

_Samples = tuple[Floats, Floats, int]
"""Unix seconds, acceleration in g of shape (n, 3), and the offset of the clock from UTC."""

_MAGIC: Final = {".cwa": b"MD", ".gt3x": b"PK", ".avro": b"Obj\x01"}


def find(_: Path, files: Sequence[Path]) -> list[Source]:
    """Each file is a recording, but those of Empatica are named ``<participant>_<start>``."""
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        magic = _MAGIC.get(path.suffix.lower())
        if magic and beginning_of(path, len(magic)) == magic:
            is_part = path.suffix.lower() == ".avro"
            groups[path.stem.rpartition("_")[0] if is_part else path.stem].append(path)
    return [Source(name or one[0].stem, tuple(one)) for name, one in groups.items()]


def read(files: Sequence[Path], *_: object) -> list[StoredNight]:
    """The recording, by day if it is longer."""
    parts = [_samples(path) for path in files]
    times, xyz = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    MAX_ROWS.require(len(times), str(files[0]))
    return nights_in(str(files[0]), {"motion": (times, xyz)}, utc_offset=parts[0][2])


def _samples(path: Path) -> _Samples:
    kind = path.suffix
    # These libraries fail in many ways over damaged files.
    with (
        explaining(f"{path}: can't be read as {kind}", "copy it again", Exception),
        needs_extra(f"reading {kind} files", "devices"),
    ):
        return _READERS[kind.lower()](path)


def _cwa(path: Path) -> _Samples:
    import cwa_reader_rs

    frame = cwa_reader_rs.read_cwa_file(
        str(path),
        include_magnetometer=False,
        include_temperature=False,
        include_light=False,
        include_battery=False,
    )
    times = frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9
    return times, frame[["acc_x", "acc_y", "acc_z"]].to_numpy(dtype=np.float64), 0


def _gt3x(path: Path) -> _Samples:
    from pygt3x.reader import FileReader

    with FileReader(str(path)) as reader:
        times, *_, idle = reader.acceleration.T
        xyz = reader.calibrate_acceleration(reader.acceleration[:, 1:4])
    worn = idle == 0
    return times[worn], xyz[worn], 0


def _avro(path: Path) -> _Samples:
    import fastavro

    with path.open("rb") as file:
        parts: list[Any] = list(fastavro.reader(file))
    (content,) = parts
    found = content["rawData"]["accelerometer"]
    scale = found["imuParams"]
    factor = scale.get("conversionFactor")  # from version 6.5 of the schema on
    if factor is None:
        ranges = (scale[f"{kind}Max"] - scale[f"{kind}Min"] for kind in ("physical", "digital"))
        factor = next(ranges) / next(ranges)
    xyz = np.column_stack([found[axis] for axis in "xyz"]).astype(np.float64) * factor
    times = found["timestampStart"] / 1e6 + np.arange(len(xyz)) / (found["samplingFrequency"] or 1)
    return times, xyz, int(content.get("timezone") or 0)


_READERS: Final = {".cwa": _cwa, ".gt3x": _gt3x, ".avro": _avro}
