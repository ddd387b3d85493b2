"""The short form of `make fuzz`, and that it can fail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz import uploads
from tests.fuzz.__main__ import SEED, main
from tests.fuzz.intake import outcome
from tests.fuzz.uploads import Intake, case, kinds
from tests.support.servers import wait_until


@pytest.mark.long("thousands of requests and hundreds of uploads")
def test_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    # How soon /healthz answers says much of this machine while other tests run: here it must only never hang.
    code = main(["--requests", "1200", "--uploads", "200", "--health-ms", "20000"])
    assert code == 0, capsys.readouterr().out


def test_a_case_depends_on_its_seed_and_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [case(SEED, number) for number in range(3 * len(kinds()))]
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "localtime", lambda *_: (2040, 1, 1, 1, 1, 1))
    assert [case(SEED, number) for number in range(len(made))] == made
    monkeypatch.undo()
    assert case(SEED, 0) != case(SEED + 1, 0)


def test_untouched_uploads_are_taken(tmp_path: Path) -> None:
    for kind, made in uploads.CORPUS.items():
        (tmp_path / "upload").write_bytes(made())
        assert outcome(tmp_path / "upload", tmp_path) == "ready", kind


def test_a_reader_that_crashes_is_a_finding(tmp_path: Path) -> None:
    intake = Intake(tmp_path)
    try:
        assert "FileNotFoundError" in intake.take(tmp_path / "nothing")["what"]
        assert intake._process is not None
        intake._process.kill()
        wait_until(lambda: intake._process is not None and intake._process.poll() is not None, "it to end")
        (tmp_path / "upload").write_bytes(uploads.CORPUS["npz"]())
        assert intake.take(tmp_path / "upload")["what"] == "ready", "another process does it"
    finally:
        intake.close()


@pytest.mark.long("hundreds of requests with keys of two projects")
def test_no_answer_to_a_project_has_a_word_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--two-projects", "--requests", "600"])
    assert code == 0, capsys.readouterr().out
