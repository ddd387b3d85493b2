"""`adder login`, `me`, `keys`, `projects`, `usage` and `audit` against the real API with keys on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adderclient import profiles
from jobs.access import keys
from jobs.access.scope import SERVICE
from jobs.database import Database
from tests.adderclient.conftest import Adder
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey

OPERATOR = keys.new_text()


@pytest.fixture
def site(tmp_path: Path, sqlite_url: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    database = Database(sqlite_url)
    with database.write(SERVICE) as session:
        keys.enter_operator_key(session, OPERATOR)
    database.dispose()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ADDER_API_KEY", raising=False)
    # The API runs in this process: its log must not get into the output of the command.
    with capture_logs(), running(quick_settings(tmp_path / "data", sqlite_url, valkey.url, auth="on")) as site:
        yield site


def test_an_operator_lets_a_colleague_in(site: Running, adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADDER_URL")
    url = ("--url", site.url)
    refused = adder("jobs", *url)
    assert (refused.returncode, "needs a key" in refused.stderr) == (2, True)
    wrong = adder("login", *url, stdin="adw_x\n")
    assert wrong.returncode == 2
    assert profiles.key_of(site.url) is None
    done = adder("login", *url, stdin=f"{OPERATOR}\n")
    assert (done.returncode, "operator of default" in done.stderr) == (0, True)
    assert OPERATOR not in done.stdout + done.stderr
    assert adder("jobs").returncode == 0, "the server of the last login, with its key"
    assert adder("projects", "make", "vision", "--limit", "max_running_jobs=2").returncode == 0
    assert "max_running_jobs=2" in adder("projects", "list").stdout
    assert "max_queued_jobs=5" in adder("projects", "limit", "vision", "--limit", "max_queued_jobs=5").stderr
    made = adder("keys", "make", "ann", "--role", "admin", "--project", "vision")
    ann = made.stdout.strip()
    assert keys.KEY.fullmatch(ann), "alone on stdout"
    monkeypatch.setenv("ADDER_API_KEY", ann)
    me = json.loads(adder("me", "--json").stdout)
    assert (me["project"], me["role"], me["limits"]["max_running_jobs"]) == ("vision", "admin", 2)
    listed = json.loads(adder("keys", "list", "--json").stdout)["data"]
    assert [key["name"] for key in listed] == ["ann"]
    rotated = adder("keys", "rotate", listed[0]["id"], "--keep", "60")
    assert keys.KEY.fullmatch(rotated.stdout.strip())
    assert "/rotate" in adder("audit").stdout
    assert "device seconds" in adder("usage").stdout
    assert adder("projects", "list").returncode == 2, "an admin is no operator"
    assert adder("projects", "limit", "x", "--limit", "nonsense").returncode == 2
    monkeypatch.delenv("ADDER_API_KEY")
    assert adder("logout").returncode == 0
    assert adder("jobs", *url).returncode == 2
