#!/usr/bin/env bash
# read_cwa_file of cwa-reader-rs on an Axivity recording with a ten-minute gap, resampled.
#
# One would guess: resampling a gap gives no rows, a straight line between its two ends, or at worst
# values that stay within what was measured around it.
# What happens (cwa-reader-rs 0.5.0): of 9,600 samples of at most 1.45 g it makes 71,979 rows, those of
# the gap on a curve through its two ends that reaches 4,074 g. Without resample_hz the gap stays one.
# Who is hurt: whoever resamples recordings of a watch that was switched off, empty or paused for a
# while: the gap becomes the strongest movement of the night, activity counts and non-wear detection
# follow it, and nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cwa-reader-rs==0.5.0 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import struct
import sys
from datetime import UTC, datetime

import cwa_reader_rs
import numpy as np

START, GAP = 1710280800, (60, 660)  # 2024-03-12 22:00:00 UTC; seconds of it without data
rng = np.random.default_rng(0)


def moment(time):
    at = datetime.fromtimestamp(time, UTC)
    parts = ((at.year - 2000, 26), (at.month, 22), (at.day, 17), (at.hour, 12), (at.minute, 6))
    return sum(value << shift for value, shift in parts) + at.second


def block(number, time):
    """Eighty samples at 100 Hz, 256 to the g: a resting wrist with some noise."""
    head = struct.pack(
        "<HHHIIIHHBBBBhH",
        *(0x5841, 508, 0, 0, number, moment(time), 0, 512, 0, 200, 0x4A, 0x32, 0, 80),
    )
    xyz = (256 * (np.array([0.25, -0.5, 0.75]) + rng.normal(0, 0.2, (80, 3)))).astype("<i2")
    body = head + xyz.tobytes()
    total = sum(struct.unpack(f"<{len(body) // 2}H", body))
    return body + struct.pack("<H", -total & 0xFFFF)


seconds = [*range(GAP[0]), *range(GAP[1], GAP[1] + 60)]
header = struct.pack("<HH", 0x444D, 1020) + b"\xff" * 32 + bytes([0x4A]) + b"\xff" * 987
with open(sys.argv[1], "wb") as file:
    file.write(header + b"".join(block(n, START + at) for n, at in enumerate(seconds)))


def largest(**options):
    frame = cwa_reader_rs.read_cwa_file(
        sys.argv[1],
        include_magnetometer=False,
        include_temperature=False,
        include_light=False,
        include_battery=False,
        **options,
    )
    return len(frame), float(np.abs(frame[["acc_x", "acc_y", "acc_z"]].to_numpy()).max())


(n_read, read), (n_drawn, drawn) = largest(), largest(resample_hz=100)
print(f"as recorded: {n_read} rows, at most {read:.2f} g on an axis")
print(f"resampled to 100 Hz: {n_drawn} rows, at most {drawn:.0f} g on an axis")
assert n_read == 80 * len(seconds) and read < 3
assert n_drawn > 60_000 and drawn > 50, (n_drawn, drawn)
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder/gap.cwa"
