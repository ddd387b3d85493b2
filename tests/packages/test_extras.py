"""Each extra, installed from the built wheel into a fresh environment without a compiler, does what it is for.

torch alone is not installed anew: it is linked from the environment of the tests (`Environment.lend_torch`).
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.programs import die_with_parent
from tests.packages.conftest import Release
from tests.packages.environments import ROOT, Environment

pytestmark = [
    pytest.mark.long("builds the wheel and installs dozens of packages"),
    pytest.mark.timeout(1800),
]

MOST_BYTES = 40_000_000
TRAIN = """
import addercore, sys
from addercore.ops.c import library
library.load()
config = addercore.TrainConfig.from_dict(
    {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1}
)
addercore.fit(config, workdir="out", threads=1)
addercore.sample_image("digits", 0).save("digit.png")
print(addercore.__version__, addercore.load("out/model.safetensors").predict("digit.png").label)
"""
SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1}


def test_the_plain_package_is_small_and_has_no_torch(plain: Environment, version: str) -> None:
    names = {entry.name for entry in plain.site.iterdir()}
    assert not names & {"torch", "numpy", "fastapi", "sqlalchemy"}
    assert plain.bytes() <= MOST_BYTES
    assert plain.run("adder", "--version").stdout == f"adderworks {version}\n"
    assert json.loads(plain.run("adder", "count", "--arch", "resnet20", "--json").stdout)["parameters"] == 272_484


def test_no_command_of_the_plain_package_ends_in_a_traceback(plain: Environment) -> None:
    program = shutil.copy2(Path(__file__).with_name("every_command.py"), plain.work)
    found = json.loads(plain.run("python", str(program)).stdout.splitlines()[-1])
    assert {"up", "jobs", "jobs list", "worker start", "datasets fetch", "count"} <= set(found["commands"])
    assert found["raised"] == {}


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        *(("server", words) for words in (["up"], ["demo"], ["backup", "x"], ["restore", "x"], ["worker", "start"])),
        ("core", ["datasets", "fetch", "mnist"]),
        ("core", ["import", "--from-authors", __file__]),
    ],
)
def test_a_command_of_an_extra_says_what_to_install(plain: Environment, extra: str, arguments: list[str]) -> None:
    done = plain.run("adder", *arguments, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"pip install 'adderworks[{extra}]'\n")
    assert done.stderr.count("\n") == 1


def test_the_library_says_what_to_install(plain: Environment) -> None:
    done = plain.run("python", "-c", "import addercore; addercore.load", check=False)
    assert done.stderr.rstrip().endswith("which is not installed here: pip install 'adderworks[core]'")


def test_core_trains_with_the_kernels_of_the_wheel(with_torch: Environment, released: Release, version: str) -> None:
    with_torch.install(released.wheel, "core")
    said = with_torch.run("python", "-c", TRAIN).stdout.split()
    assert said[-2] == version
    assert said[-1].isdigit()
    environment = json.loads((with_torch.work / "out" / "summary.json").read_text())["environment"]
    assert environment["backend"].startswith("c-")
    assert (with_torch.work / "out" / "curves.png").stat().st_size > 0
    refused = with_torch.run("adder", "up", check=False)
    assert "pip install 'adderworks[server]'" in refused.stderr
    assert "torch" not in refused.stderr


@pytest.mark.parametrize("format", ["tensorboard", "mlflow"])
def test_an_export_finds_the_library_of_its_extra(with_torch: Environment, released: Release, format: str) -> None:
    with_torch.install(released.wheel, format)
    with_torch.run(
        "python", "-c", f"from adderclient.exports.writers import OF_JOBS, check; check('{format}', OF_JOBS)"
    )


@contextmanager
def serving(environment: Environment) -> Iterator[str]:
    """`adder up` of an environment; its address."""
    with subprocess.Popen(
        environment.command("adder", "up", "--port", "0", "--data", "data", "--ready-timeout", "240"),
        cwd=environment.work,
        env=environment.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(signal.SIGTERM),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if not line.startswith("Adderworks is ready at "):
            pytest.fail(f"adder up said {line!r} and {process.stderr.read()}")
        try:
            yield line.split()[-1]
        finally:  # a test that fails must not wait for a server that nobody stops
            process.terminate()
            code = process.wait()
        assert code == 0


def test_server_serves_what_the_plain_package_asks(
    with_torch: Environment, plain: Environment, released: Release, version: str
) -> None:
    server = with_torch
    server.install(released.wheel, "server")
    (plain.work / "job.json").write_text(json.dumps(SPEC))
    with serving(server) as url:
        ask = ["--url", url]
        job_id = plain.run("adder", *ask, "submit", "job.json", "--watch").stdout.split()[0]
        job = json.loads(plain.run("adder", *ask, "show", job_id, "--json").stdout)
        assert job["status"] == "succeeded"
        assert job["environment"]["backend"].startswith("c-")
        plain.run("adder", *ask, "download", job["id"], "-o", "model/")
        assert (plain.work / "model" / "model.safetensors").exists()
        server.run("python", "-m", "addercore.sample", "digits", "0", "digit.png")
        shutil.copy2(server.work / "digit.png", plain.work)
        answer = json.loads(plain.run("adder", *ask, "predict", job["model_id"], "digit.png", "--json").stdout)
        assert answer["label"].isdigit()
        assert json.loads(plain.run("adder", *ask, "system", "--json").stdout)["versions"]["adderworks"] == version
        pages_come_whole(url, job["id"])
        server.run("adder", "backup", "copy", "--data", "data")
        assert (server.work / "copy" / "manifest.json").exists()


def pages_come_whole(url: str, job_id: str) -> None:
    """The pages render, and every script and style that they name is there."""
    import httpx2

    with httpx2.Client(base_url=url, trust_env=False, timeout=60, headers={"Accept": "text/html"}) as http:
        for path in ("/", f"/jobs/{job_id}", "/models", "/datasets", "/recipes", "/sweeps", "/docs"):
            page = http.get(path)
            assert page.status_code == 200, path
            for name in re.findall(r'(?:src|href)="([^"]*/static/[^"]+)"', page.text):
                assert http.get(name).status_code == 200, name
        assert http.get("/openapi.json").json()["info"]["version"]


def test_dev_runs_the_tests_and_builds(with_torch: Environment, released: Release) -> None:
    with_torch.install(released.wheel, "dev")
    for name in ("tests", "benchmarks"):
        leave = shutil.ignore_patterns("__pycache__", "fixtures", "results")
        shutil.copytree(ROOT / name, with_torch.work / name, ignore=leave)
    shutil.copy2(ROOT / "pyproject.toml", with_torch.work)
    said = with_torch.run("python", "-m", "pytest", "-q", "tests/addercore/config/test_train.py")
    assert " passed" in said.stdout
    for program in ("ruff", "mypy"):
        with_torch.run(program, "--version")
    for module in ("build", "auditwheel"):
        with_torch.run("python", "-m", module, "--version")
