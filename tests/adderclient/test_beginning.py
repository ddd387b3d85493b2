"""``adder init``, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from adderclient import Client
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job, model


@pytest.fixture(autouse=True)
def _no_log_of_the_server_on_stdout() -> Iterator[None]:
    with capture_logs():
        yield


ID = "job_01jv3m8z4k6wq0x9t2rhf5ybcd"


@pytest.mark.parametrize(
    ("dataset", "arch"),
    [("digits", "lenet5_bn"), ("mnist", "lenet5_bn"), ("cifar10", "resnet20"), ("imagenet", "resnet18")],
)
def test_a_spec_to_begin_with_is_taken_as_it_is(
    real: Client, adder: Adder, tmp_path: Path, dataset: str, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDER_URL", real.url)
    done = adder("init", "--dataset", dataset)
    assert (done.returncode, done.stdout) == (0, "job.yaml\n"), done.stderr
    text = (tmp_path / "job.yaml").read_text()
    spec = yaml.safe_load(text)
    assert (spec["model"]["arch"], spec["dataset"]["name"]) == (arch, dataset)
    plain = {"kind": "train", "model": {"arch": arch}, "dataset": {"name": dataset}}
    assert real.jobs.validate(spec).spec == {**real.jobs.validate(plain).spec, "labels": {"study": "first"}}
    assert adder("submit", "job.yaml", "--validate-only").returncode == 0
    assert "# Passes over the training images." in text
    assert max(map(len, text.splitlines())) <= 120
    again = adder("init", "--dataset", dataset)
    assert again.returncode == 2
    assert "--force writes over it" in again.stderr
    assert adder("init", "--dataset", dataset, "--method", "conv", "--force").returncode == 0
    assert adder("init", "-", "--dataset", dataset).stdout == text
    assert adder("init", "my job.yaml", "--dataset", dataset).returncode == 0
    assert "# Submit it with: adder submit 'my job.yaml' --watch\n" in (tmp_path / "my job.yaml").read_text()
    assert adder("init", "other.yaml", "--dataset", "nothing").returncode == 3


def completed(service: Service, *words: str, url: str | None = None) -> list[str]:
    """What bash is offered for the last word; a busy machine has time for it here."""
    environment = {
        **os.environ,
        "ADDER_URL": url or service.url,
        "_ADDER_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["adder", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "import sys; sys.argv = ['adder']; from adderclient.command import completion, main; "
    program = [sys.executable, "-c", f"{code}completion.SECONDS = 60.0; main()"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_shell_completes_ids_recipes_networks_and_fields(service: Service) -> None:
    service.jobs = {ID: job(ID, "succeeded"), "job_2": job("job_2")}
    service.models = {"model_1": model("model_1", aliases=["champion"])}
    assert completed(service, "watch", "job_0") == [ID]
    assert {"@last", ID, "job_2", "model_1", "champion", "digits"} <= set(completed(service, "show", ""))
    assert completed(service, "submit", "--recipe", "tab") == ["table1"]
    assert completed(service, "init", "--arch", "resnet2") == ["resnet20"]
    assert completed(service, "submit", "job.yaml", "--set", "optimizer.sch") == ["optimizer.schedule="]
    assert completed(service, "submit", "job.yaml", "--set", "optimizer.schedule=co") == [
        "optimizer.schedule=cosine",
        "optimizer.schedule=constant",
    ]
    for away in ("http://127.0.0.1:1", "nonsense"):
        assert completed(service, "show", "job_", url=away) == []
    service.break_("GET", status=500, times=99)
    assert completed(service, "show", "job_") == []
