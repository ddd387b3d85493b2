"""The line that `wait(progress=True)` shows."""

from __future__ import annotations

import io
import sys

import pytest

from adderclient import Dataset, Job, Sweep
from adderclient.progress import described, shown
from tests.adderclient.documents import job, sweep, upload
from tests.adderclient.test_terminal import ALL, obeyed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_how_far_it_is() -> None:
    running = job("job_1", "running", queue_position=None)
    running["progress"] |= {"eta_seconds": 75.4}
    assert described(Job.from_json(running)) == "job_1  running  epoch 1/4  25 %  900 images/s  1 min 15 s left"
    storing = running | {"progress": {**running["progress"], "phase": "storing", "epoch": None}}
    assert described(Job.from_json(storing)).startswith("job_1  running  storing  epoch 0/4")
    assert described(Job.from_json(job("job_1"))) == "job_1  queued  position 1"
    assert described(Job.from_json(job("job_1", waiting_for="a GPU"))) == "job_1  queued  a GPU"
    assert described(Job.from_json(job("job_1", "paused"))).startswith("job_1  paused  epoch 1/4")
    assert described(Job.from_json(job("job_1", "failed"))) == "job_1  failed"
    assert described(Sweep.from_json(sweep("sweep_1"))) == "sweep_1  running  1 of 2 done"
    assert described(Dataset.from_json(upload())) == "leaves  validating"


def test_what_a_server_sends_does_not_steer_the_terminal() -> None:
    evil = described(Job.from_json(job("job_1", waiting_for=f"a {ALL}")))
    assert obeyed(evil) == []
    assert "\n" not in evil


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_a_terminal_has_one_line_and_a_file_one_for_each_change(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    looks = [job("job_1"), job("job_1"), job("job_1", "failed")]
    with shown(True) as tell:
        for look in looks:
            tell(Job.from_json(look))
    if stream.isatty():
        assert stream.getvalue() == f"\rjob_1  queued  position 1\rjob_1  failed{' ' * 12}\n"
    else:
        assert stream.getvalue() == "job_1  queued  position 1\njob_1  failed\n"


def test_a_function_is_told_each_look_and_nobody_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    for progress in (False, lambda found: seen.append(found.status)):
        with shown(progress) as tell:
            tell(Job.from_json(job("job_1")))
            tell(Job.from_json(job("job_1")))
    assert seen == ["queued", "queued"]
    assert capsys.readouterr() == ("", "")
