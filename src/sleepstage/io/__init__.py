"""Files of every format that people have; all of them give recordings."""

from sleepstage.io.registry import open_nights

__all__ = ["open_nights"]
