"""Keys that the command stores, and where it sends them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from adderclient import AdderClientError, Client, profiles


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ADDER_API_KEY", raising=False)
    monkeypatch.delenv("ADDER_URL", raising=False)


def test_a_stored_key_is_for_its_server_and_its_owner_alone() -> None:
    assert profiles.key_of("https://lab.example") is None
    path = profiles.store("https://lab.example/", "adw_1")
    profiles.store("https://other.example", "adw_2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert profiles.key_of("https://LAB.example/v1") == "adw_1"
    assert profiles.own_url() == "https://other.example"
    assert profiles.forget("https://lab.example")
    assert profiles.key_of("https://lab.example") is None
    assert not profiles.forget("https://lab.example")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keys": []}'])
def test_a_broken_file_is_none(text: str) -> None:
    path = profiles.store("https://lab.example", "adw_1")
    path.write_text(text)
    assert profiles.key_of("https://lab.example") is None
    profiles.store("https://lab.example", "adw_2")
    assert profiles.key_of("https://lab.example") == "adw_2"


@pytest.mark.parametrize("url", ["http://lab.example", "http://10.0.0.7:8000", "http://localhost.evil.example"])
def test_a_key_goes_over_plain_http_to_loopback_only(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AdderClientError, match="plain http"):
        Client(url, "adw_1")
    Client(url).close()
    for safe in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "https://lab.example"):
        Client(safe, "adw_1").close()
    monkeypatch.setenv(profiles.ANYWAY, "1")
    Client(url, "adw_1").close()
