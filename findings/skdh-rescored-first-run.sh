#!/usr/bin/env bash
# compute_sleep_predictions of scikit-digital-health with Webster's rescoring, its default.
#
# One would guess: rescoring turns short sleep between long stretches of wake into wake, and leaves
# eight hours without any movement asleep, with or without it.
# What happens (scikit-digital-health 0.17.18, numpy 2.4.6): a night that is still from its first to
# its last minute comes out as no minute of sleep with rescoring and as 480 without. The last rule
# combines a boolean mask with the integer labels, so that numpy takes zeros and ones as positions,
# not as a mask: the first run of equal labels is always set to wake, whatever its length. A night
# that begins awake hides it, for its first run is wake already.
# Who is hurt: whoever scores recordings that begin with sleep, as nights cut at sleep onset are, or
# compares it with other algorithms on such cuts: all sleep up to the first awakening is lost, and
# nothing warns. With rescore=False labels are as expected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-digital-health==0.17.18 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import numpy as np
from skdh.sleep.sleep_classification import compute_sleep_predictions

still = np.zeros(480)  # activity index of eight hours, a minute each
woken = still.copy()
woken[200:205] = 200.0
for name, night in (("still", still), ("awake for five minutes after 200", woken)):
    found = [int(compute_sleep_predictions(night, rescore=one).sum()) for one in (True, False)]
    print(f"{name}: minutes asleep {found[0]} with rescoring, {found[1]} without")
    first = compute_sleep_predictions(night)[: 150 if night is woken else 480]
    assert not first.any(), first
    assert found[1] > 450, found
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
