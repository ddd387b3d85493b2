"""The real process of an analysis: its messages, and that it ends the same wherever it is killed or stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from addercore.config import TrainConfig
from addercore.io import encode, manifest_of
from addercore.networks import build
from jobs.spec import SPEC, Spec
from jobs.states import FailureCode
from tests.support.attempts import Attempts, kill_process
from worker import protocol
from worker.process import ChildProcess
from worker.template.client import Template

pytestmark = pytest.mark.bits

FILES = {"result.json", "table.md", "table.csv", "figure.png", "summary.json"}


def spec(**changes: Any) -> Spec:
    document = {
        "kind": "analyze",
        "recipe": "figure4",
        "epochs": 2,
        "checkpoint": {"every_epochs": None, "every_seconds": 0.1},
        "resources": {"device": "cpu"},
    }
    return SPEC.validate_python(document | changes)


def result_of(attempts: Attempts) -> dict[str, Any]:
    """All of result.json but the environment, which tells of the checkout."""
    result: dict[str, Any] = json.loads((attempts.workdir / "result.json").read_text())
    del result["environment"]
    return result


@pytest.mark.long("five starts of a table of trainings")
def test_killed_and_stopped_in_the_middle_it_ends_the_same(tmp_path: Path, template: Template) -> None:
    untouched = Attempts(tmp_path / "untouched", spec(), template=template)
    assert untouched.run() == 0, untouched.log
    done = untouched.said[-1]
    assert isinstance(done, protocol.Done)
    assert done.result["verdict"]
    assert {item.name for item in untouched.heard(protocol.ArtifactReady)} == FILES
    assert untouched.heard(protocol.ModelReady) == [], "an analysis publishes no model"
    assert {name.split("/")[0] for name, _ in untouched.rows} == {"adder-0", "conv-0"}
    assert [line for line in untouched.log.splitlines() if "conv-0/val/accuracy" in line]

    touched = Attempts(tmp_path / "touched", spec(), template=template)

    def strike(saved: int, blow: Any) -> Any:
        """After so many checkpoints of this attempt."""

        def stroke(child: ChildProcess, message: protocol.Message) -> None:
            if isinstance(message, protocol.CheckpointSaved) and len(touched.heard(protocol.CheckpointSaved)) == saved:
                blow(child)

        return stroke

    for number, blow in ((2, kill_process), (2, ChildProcess.terminate), (3, kill_process)):
        if touched.run(strike(number, blow)) == 0 and isinstance(touched.said[-1], protocol.Done):
            break  # faster than the blow
    else:
        assert touched.run() == 0, touched.log
    assert touched.number > 1
    assert "resumed" in touched.notes()
    assert touched.rows == untouched.rows
    assert result_of(touched) == result_of(untouched)
    for name in ("table.md", "table.csv"):
        assert (touched.workdir / name).read_bytes() == (untouched.workdir / name).read_bytes()


def test_a_model_is_looked_at_and_nothing_trained(tmp_path: Path, template: Template) -> None:
    config = TrainConfig.default("lenet5_bn", "digits")
    model = tmp_path / "model.safetensors"
    model.write_bytes(encode(build(config.network(), seed=0).state_dict(), manifest_of(config, {})))
    job = Attempts(tmp_path / "job", spec(model_id="model_1", epochs=None), model=model, template=template)
    assert job.run() == 0, job.log
    assert isinstance(job.said[-1], protocol.Done)
    assert job.rows == {}
    assert {item.name for item in job.heard(protocol.ArtifactReady)} == FILES


def test_data_that_is_not_there_is_the_jobs_failure(tmp_path: Path, template: Template) -> None:
    job = Attempts(tmp_path, spec(dataset={"name": "mnist"}), template=template)
    assert job.run() == 1
    end = job.said[-1]
    assert isinstance(end, protocol.Failed)
    assert end.code is FailureCode.BAD_DATA
    assert "mnist" in end.message
