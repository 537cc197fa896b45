"""The forms of what the API takes and gives, for its description and to check what is asked."""

from dataclasses import fields
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model

from sleepstage.core.statistics import SleepStatistics
from sleepstage.server.admission import describe_warnings
from sleepstage.server.records import SessionRecord, Shown, ShownGrant

_Seconds = Annotated[float, Field(ge=-1e10, le=1e11, allow_inf_nan=False)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SessionIn(_In):
    """A session to open."""

    label: str = Field("", max_length=100, description="What people call it.")
    start: _Seconds | None = Field(
        None, description="Start of the first epoch (s); the first sample's if not given."
    )
    lateness: float = Field(5.0, ge=0, le=600, description="Seconds to wait for late samples.")
    find_rem: bool = Field(False, description="Decide at the operating point for REM.")
    simulated: bool = Field(False, description="Made by a program: shown as such.")


class LinkIn(_In):
    """A link to make."""

    days: float | None = Field(None, gt=0, le=365, description="Until it expires; else never.")


class _Warning(BaseModel):
    kind: str
    count: int = Field(description="Samples that it is about.")
    detail: str = Field(description="What is wrong, and how to fix it.")


def _model_of(stored: Any) -> Any:
    """A model with the fields of a stored dataclass, and with their descriptions."""
    found: dict[str, Any] = {
        name: (one.annotation, one) for name, one in stored.__pydantic_fields__.items()
    }
    return create_model(stored.__name__, **found)


class SessionOut(_model_of(Shown)):  # type: ignore[misc]
    """A session."""

    warnings: list[_Warning] = Field(description="About samples of all messages so far.")
    page: str = Field(description="Where the page shows it.")


class SessionsOut(BaseModel):
    """Sessions, newest first."""

    sessions: list[SessionOut]


class _NightEpoch(BaseModel):
    time: float
    stage: str
    probabilities: dict[str, float | None]
    confidence: float
    reason: str = Field("", description="Why it is unscored: not_worn or no_data; else empty.")


class _Epoch(_NightEpoch):
    heart_rate: float | None
    activity: float | None


class _Event(BaseModel):
    kind: str = Field(description="fell_asleep, woke_up, rem_began or not_worn.")
    time: float = Field(description="When it happened (s).")
    delay: float = Field(description="Seconds until it was known.")
    confidence: float = Field(description="Mean probability over the epochs that decided it.")


class _Night(BaseModel):
    epochs: list[_NightEpoch]
    statistics: SleepStatistics


class HypnogramOut(BaseModel):
    """A night: its epochs as they were emitted live and, once it is over, staged as a whole."""

    session: SessionOut
    first: int = Field(description="Number of the first epoch given.")
    epochs: list[_Epoch]
    events: list[_Event] = Field(description="Of all epochs so far, in order.")
    statistics: SleepStatistics
    night: _Night | None
    problem: str | None = Field(description="What could not be staged when the night was closed.")


class PushOut(BaseModel):
    """A message that is stored."""

    repeated: bool = Field(description="It had come before: nothing was changed.")
    warnings: list[_Warning] = Field(description="Samples that were dropped or will not count.")


class SensorLoggerOut(PushOut):
    """What became of a message of Sensor Logger."""

    session: str | None
    page: str | None
    stored: int = Field(description="Samples.")
    ignored: int = Field(description="Readings of other sensors, and such that can't be used.")


class LinkOut(_model_of(ShownGrant)):  # type: ignore[misc]
    """A link, with its secret: this is the only time it is shown."""

    secret: str
    session: str
    page: str


class LinksOut(BaseModel):
    """The links of a session."""

    links: list[ShownGrant]


class VisitorOut(BaseModel):
    """Who asks: whose sessions are open to them, and which one alone, if it is by a link."""

    owner: str
    session: str | None


def describe_session(record: SessionRecord) -> dict[str, Any]:
    """Give a session as `SessionOut`."""
    return {
        **shown(record, Shown),
        "warnings": describe_warnings(record.warnings),
        "page": f"/#/sessions/{record.id}",
    }


def shown(record: object, form: type) -> dict[str, Any]:
    """Give of a record what a form of it shows."""
    return {one.name: getattr(record, one.name) for one in fields(form)}


_Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
_Acceleration = Annotated[list[float], Field(min_length=4, max_length=4)]
_Summary = Annotated[list[float], Field(min_length=5, max_length=5)]


class _Message(_In):
    heart_rate: list[_Pair] = Field([], description="Rows of time (s) and beats per minute.")
    motion: list[_Acceleration] | list[_Summary] = Field(
        [],
        description="Rows of time (s) and x, y, z in g; or of the end of a window of 15 s, counts, "
        "peak_x_g, peak_y_g and peak_z_g.",
    )
    steps: list[_Pair] = Field([], description="Rows of time (s) and steps since the one before.")


_SENSOR_LOGGER: Final = {
    "type": "object",
    "properties": {
        "messageId": {"type": "integer"},
        "sessionId": {"type": "string"},
        "deviceId": {"type": "string"},
        "payload": {"type": "array", "items": {"type": "object"}},
    },
}

_EXAMPLE: Final = {"heart_rate": [[1700000000, 61]], "motion": [[1700000000, 0, 0, 1]]}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


MESSAGE_BODY: Final = _body(
    {
        "application/json": {"schema": _Message.model_json_schema(), "example": _EXAMPLE},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
)

EXPORT_BODY: Final = _body(
    {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
)
SENSOR_LOGGER_BODY: Final = _body({"application/json": {"schema": _SENSOR_LOGGER}})


class Problem(BaseModel):
    """What went wrong."""

    type: str
    title: str
    status: int
    detail: str


PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
}
