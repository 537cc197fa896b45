"""What can be set, by flag and by environment."""

from __future__ import annotations

import pytest

from sleepstage.errors import DataError
from sleepstage.service.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_it_knows_what_can_be_reached_from_elsewhere(host: str, loopback: bool) -> None:
    assert Settings(host=host).loopback is loopback


def test_settings_come_from_flags_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEPSTAGE_PORT", "9000")
    monkeypatch.setenv("SLEEPSTAGE_HOST", "::1")
    assert read_settings(host=None, keep_days=2.0).url == "http://[::1]:9000"
    assert read_settings(port=1).port == 1
    assert read_settings(public_url="https://night.example/").url == "https://night.example"
    monkeypatch.setenv("SLEEPSTAGE_PORT", "many")
    with pytest.raises(DataError, match=r"SLEEPSTAGE_PORT: .*not 'many'"):
        read_settings()
