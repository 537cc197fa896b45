"""What can be set, by flag and by environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from sleepstage.errors import DataError
from sleepstage.server.settings import Settings, read_settings

WRONG = {
    "host": None,  # any text may be the name of a machine, a place or a model
    "store": None,
    "model": None,
    "night_model": None,
    "public_url": None,
    "token": None,
    "port": "65536",
    "workers": "-1",
    "log": "xml",
    "sensor_logger_lateness": "601",
    "keep_days": "0",
    "silent_hours": "nan",
    "max_body": "1 MB",
    "max_upload": "8 GB",
    "max_samples": "0",
    "max_open": "0",
    "messages_per_second": "0.5",
    "max_waiting": "",
    "max_header": "0",
    "header_seconds": "0",
    "max_connections": "0",
    "slow_seconds": "-1",
}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("box", False),
        ("", False),
    ],
)
def test_it_knows_what_can_be_reached_from_elsewhere(host: str, loopback: bool) -> None:
    assert Settings(host=host).loopback is loopback


def test_settings_come_from_flags_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().store == str(Path.home() / ".sleepstage")
    monkeypatch.setenv("SLEEPSTAGE_PORT", "9000")
    monkeypatch.setenv("SLEEPSTAGE_HOST", "::1")
    assert read_settings(host=None, keep_days=2.0).url == "http://[::1]:9000"
    assert read_settings(port=1).port == 1
    assert read_settings(public_url="https://night.example/").url == "https://night.example"


def test_what_is_set_wrongly_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WRONG.keys() == Settings.model_fields.keys()
    for name, value in WRONG.items():
        if value is None:
            continue
        with monkeypatch.context() as patch:
            patch.setenv(f"SLEEPSTAGE_{name.upper()}", value)
            with pytest.raises(DataError, match=f"^SLEEPSTAGE_{name.upper()}: .*not '{value}'"):
                read_settings()
        flag = name.replace("_", "-")
        with pytest.raises(DataError, match=f"^--{flag} or SLEEPSTAGE_{name.upper()}: "):
            read_settings(**{name: value})
