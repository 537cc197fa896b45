"""A simulated night for the page to play."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Final

import numpy as np
import orjson
from starlette.responses import Response

from sleepstage.readers.simulated import simulate_night

__all__ = ["show_demo"]

_CACHED: Final = {"Cache-Control": "public, max-age=86400"}


async def show_demo() -> Response:
    """Samples of a simulated night, in seconds from its start."""
    night = _night() if _night.cache_info().currsize else await asyncio.to_thread(_night)
    return Response(night, headers=_CACHED, media_type="application/json")


@cache
def _night() -> bytes:
    night = simulate_night(1)
    signals = {name: getattr(night, name) for name in ("heart_rate", "motion", "steps")}
    return orjson.dumps(
        {
            "seconds": night.end - night.start,
            **{
                name: np.column_stack([samples.times, samples.values]).tolist()
                for name, samples in signals.items()
            },
        }
    )
