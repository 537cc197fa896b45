"""What can be set: by flags of ``sleepstage serve``, or as ``SLEEPSTAGE_*`` in the environment."""

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sleepstage.errors import DataError

PREFIX = "SLEEPSTAGE_"


class Settings(BaseSettings):
    """Settings of a server; each can be given as ``SLEEPSTAGE_<NAME>``.

    What is about one person, as `max_open`, is enforced beside the store, for all servers together;
    `messages_per_second` and `max_waiting` by each server for itself.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    store: str = Field(default_factory=lambda: str(Path.home() / ".sleepstage"))
    """Where sessions are kept: a folder, or redis://host:6379/0."""
    model: str = "live"
    """Model for epochs as they end: live, or a file."""
    night_model: str = "night"
    """Model for nights that are over: night, or a file."""
    workers: int = Field(1, ge=0, le=64)
    """Processes that stage; 0 for a thread of the one that listens."""
    log: Literal["json", "text"] = "text"
    """Form of log lines."""
    public_url: str = ""
    """Address of the page as people reach it, for the log."""
    sensor_logger_lateness: float = Field(60.0, ge=0, le=600)
    """Seconds that Sensor Logger's late samples are waited for."""
    keep_days: float = Field(30.0, gt=0)
    """Days after its last message that a night is deleted."""
    silent_hours: float = Field(6.0, gt=0)
    """Hours of silence after which a night is taken to be over."""
    max_body: int = Field(2**20, ge=1024)
    """Bytes a message may have."""
    max_upload: int = Field(2**33, ge=1024)
    """Bytes an uploaded export may have."""
    max_samples: int = Field(100_000, ge=1)
    """Samples a message may have."""
    max_open: int = Field(20_000, ge=1)
    """Open sessions of one person."""
    messages_per_second: int = Field(200, ge=1)
    """Messages of one session, over ten seconds, by each server."""
    max_waiting: int = Field(1000, ge=1)
    """Requests at once; more are asked to come back later."""
    max_header: int = Field(16_384, ge=1024)
    """Bytes a request's line and headers may have."""
    header_seconds: float = Field(10.0, gt=0)
    """Seconds within which a request's headers must have come."""
    max_connections: int = Field(16_000, ge=1)
    """Connections at once; fewer if the system allows fewer files."""
    slow_seconds: float = Field(20.0, gt=0)
    """Seconds within which a request's body must have come."""
    token: str = ""
    """A token of the owner local, besides those in the store."""

    def body_limit(self, scope: Mapping[str, Any]) -> int:
        """Bytes that the body of a request may have; that of an upload goes to the disk."""
        is_upload = (scope.get("method"), scope.get("path")) == ("POST", "/v1/exports")
        return self.max_upload if is_upload else self.max_body

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """Where the page is, as far as the server knows."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a name or an IP address is this machine's own."""
    with suppress(ValueError):
        return host == "localhost" or ip_address(host).is_loopback
    return False


def read_settings(**flags: object) -> Settings:
    """Take flags that are not None, and the environment for the others.

    A setting that is not among the flags can be given in the environment alone. Raises
    `DataError`, which names the setting and what is wrong with it.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        where = f"{PREFIX}{name.upper()}"
        if name in flags:
            where = f"--{name.replace('_', '-')} or {where}"
        raise DataError(f"{where}: {first['msg']}, not {first['input']!r:.60}") from error
