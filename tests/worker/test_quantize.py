"""The real process of a quantisation: its messages, and that it ends the same when it is killed in fine-tuning."""

from __future__ import annotations

from pathlib import Path

import pytest

from addercore.errors import CheckpointError
from jobs.spec import SPEC
from jobs.states import FailureCode
from tests.support.attempts import Attempts, kill_process
from worker import protocol
from worker.process import ChildProcess
from worker.template.client import Template

pytestmark = pytest.mark.bits

FINETUNE = {
    "kind": "quantize",
    "model_id": "model_1",
    "dataset": {"name": "digits"},
    "bits": 4,
    "calibration_images": 64,
    "finetune": {"epochs": 2},
}


def test_killed_in_its_fine_tuning_it_ends_the_same(tmp_path: Path, digits_model: Path, template: Template) -> None:
    spec = SPEC.validate_python(FINETUNE)
    untouched = Attempts(tmp_path / "untouched", spec, model=digits_model, template=template)
    assert untouched.run() == 0, untouched.log
    said = untouched.said
    phases = [one.progress["phase"] for one in said if isinstance(one, protocol.Progress) and "phase" in one.progress]
    assert phases == ["reading_data", "calibrating", "training", "validating", "storing"]
    assert isinstance(said[-1], protocol.Done)
    published = next(one for one in said if isinstance(one, protocol.ModelReady))
    assert published.manifest["quantisation"]["bits"] == 4
    assert published.metrics["val/accuracy"] == said[-1].result["integer"]["accuracy"]

    killed = Attempts(tmp_path / "killed", spec, model=digits_model, template=template)

    def kill(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved) and killed.number == 1:
            kill_process(child)

    assert killed.run(kill) != 0
    assert len(killed.checkpoints()) == 1
    assert killed.run() == 0, killed.log
    files = [attempts.workdir / "model.adder" for attempts in (untouched, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_damaged_checkpoint_is_told_and_it_starts_anew(
    tmp_path: Path, digits_model: Path, template: Template
) -> None:
    attempts = Attempts(tmp_path, SPEC.validate_python(FINETUNE), model=digits_model, template=template)
    (attempts.store / "00.ckpt").write_bytes(b"ADDERCK1" + bytes(100))
    assert attempts.run() == 0, attempts.log
    notes = [one for one in attempts.said if isinstance(one, protocol.Note)]
    assert [one.event for one in notes] == ["checkpoint_lost"]
    assert CheckpointError.__name__ not in notes[0].message


def test_a_damaged_model_is_bad_data(tmp_path: Path, template: Template) -> None:
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"ADDER\r\n\x1a" + bytes(200))
    attempts = Attempts(tmp_path / "work", SPEC.validate_python(FINETUNE), model=broken, template=template)
    assert attempts.run() == 1
    failed = attempts.said[-1]
    assert isinstance(failed, protocol.Failed)
    assert failed.code == FailureCode.BAD_DATA
