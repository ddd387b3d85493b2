"""``adder demo``: an adder network and its convolutional twin, from the spec to a prediction, on this machine.

The demo starts the service and trains both networks. It downloads the models, verifies their checksums, imports and
evaluates them, loads them without the service, asks them what a digit is, and prints a comparison. A step that fails
ends the demo with a sentence and an exit code that is not 0. All that was started is stopped in any case.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.table import Table

from adderclient.client import Client
from adderclient.command.models import ranking
from adderclient.command.terminal import console, errors_console
from adderclient.command.watching import follow, why_it_waits
from adderclient.download import sha256_of
from adderclient.errors import AdderClientError, JobFailed
from adderclient.formats import duration, energy, number, percent, size
from adderclient.records import Job, Validation
from launcher.processes import die_with_parent
from launcher.service import cores

READY = "Adderworks is ready at "
START_SECONDS = 90.0
STOP_SECONDS = 60.0
FILES = ("model.safetensors", "model.json")
SAME = 1e-9
"""Largest difference of two equal accuracies: one of them went through JSON."""

LOAD_ALONE = """
import addercore, sys
image, *models = sys.argv[1:]
addercore.sample_image("digits", 0).save(image)
for model in models:
    print(addercore.load(model).predict(image).label)
"""
METHODS = ("adder", "conv")


class DemoError(AdderClientError):
    """A step of the demo did not do what it should."""


@dataclass
class Contender:
    """One of the two networks and its results."""

    method: str
    validation: Validation
    job: Job
    folder: Path
    accuracy: float = 0.0
    seconds: float | None = None
    """For how long it trained."""
    imported_id: str = ""
    label: str = ""
    probability: float = 0.0


def run_demo(data: Path, epochs: int) -> int:
    """Runs the demo in the folder ``data``, which is kept; returns the exit code."""
    began = time.monotonic()
    data = data.absolute()
    results = data / "results"
    with running_service(data) as url, Client(url) as client:
        results.mkdir(exist_ok=True)
        digit = results / "digit.png"
        contenders = [submitted(client, method, results / method, epochs) for method in METHODS]
        for contender in contenders:
            trained(client, contender)
        with answering_alone(contenders, digit) as alone:  # it loads torch while the service evaluates
            compare_evaluations(client, contenders)
            compare_predictions(client, contenders, digit, alone)
        _say("Stopping the service")
    report(contenders, digit, data, time.monotonic() - began)
    return 0


def submitted(client: Client, method: str, folder: Path, epochs: int) -> Contender:
    """Submits the training of one network."""
    spec: dict[str, Any] = {
        "kind": "train",
        "model": {"arch": "lenet5_bn", "method": method},
        "dataset": {"name": "digits"},
        "epochs": epochs,
        "labels": {"demo": method},
    }
    _say(f"Training lenet5_bn as {method} network on digits")
    return Contender(method, client.jobs.validate(spec), client.jobs.submit(spec), folder)


def trained(client: Client, contender: Contender) -> None:
    """Waits for a training, fetches its model and gives it back as an imported one."""
    job = succeeded(client, contender.job, f"{contender.method:5} train")
    contender.accuracy, contender.seconds = metric(job.result, "val/accuracy"), client.jobs.run_seconds(job)
    contender.job = job
    fetch(client, contender)
    weights, manifest = (contender.folder / name for name in FILES)
    contender.imported_id = client.models.import_(weights, manifest).id


def fetch(client: Client, contender: Contender) -> None:
    """Downloads weights and manifest, and compares their checksums with the listing."""
    published = {artifact.name: artifact for artifact in client.jobs.artifacts(contender.job.id)}
    contender.folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        path = client.jobs.download(contender.job.id, name, contender.folder)
        if sha256_of(path) != published[name].sha256:
            raise DemoError(f"{path} does not have the published checksum")
        _say(f"Fetched {path.name}, {size(path.stat().st_size)}, sha256 {published[name].sha256[:16]}… verified")


def compare_evaluations(client: Client, contenders: list[Contender]) -> None:
    """Has the imported models evaluated; raises :class:`DemoError` unless each is as good as the trained one."""
    jobs = [
        client.jobs.submit({"kind": "evaluate", "model_id": contender.imported_id, "dataset": {"name": "digits"}})
        for contender in contenders
    ]
    for contender, job in zip(contenders, jobs, strict=True):
        accuracy = metric(succeeded(client, job, f"{contender.method:5} check").result, "accuracy")
        if abs(accuracy - contender.accuracy) > SAME:
            raise DemoError(
                f"the imported model's accuracy is {percent(accuracy, 4)}, "
                f"training ended with {percent(contender.accuracy, 4)}"
            )
        _say(f"Gave it back ({contender.imported_id}) and had it evaluated: {percent(accuracy)}, as in training")


@contextmanager
def answering_alone(contenders: list[Contender], digit: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes the image of a digit and prints what each model says that it is, without the service."""
    models = [str(contender.folder / FILES[0]) for contender in contenders]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LOAD_ALONE, str(digit), *models],
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def compare_predictions(client: Client, contenders: list[Contender], digit: Path, alone: subprocess.Popen[str]) -> None:
    """Asks each model what a digit is, in the service, and compares with what it said without; raises
    :class:`DemoError` if they differ."""
    said, errors = alone.communicate()
    if alone.returncode:
        raise DemoError(f"A model could not be loaded without the service:\n{errors.strip()[-2000:]}")
    for contender, label_alone in zip(contenders, said.split(), strict=True):
        ranked = ranking(client.models.predict(contender.imported_id, digit))
        if not ranked:
            raise DemoError("the prediction has no probabilities")
        contender.label, contender.probability = ranked[0]
        if contender.label != label_alone:
            raise DemoError(
                f"the service says the digit is a {contender.label}, the same model without the service {label_alone}"
            )


def succeeded(client: Client, job: Job, title: str) -> Job:
    """Shows a job's progress to its end; raises :class:`JobFailed` unless it succeeded."""
    ended = follow(client, job.id, title).job
    if not ended.finished:
        raise DemoError(why_it_waits(client, ended))
    if ended.status != "succeeded":
        raise JobFailed(ended)
    return ended


def metric(result: Mapping[str, Any], name: str) -> float:
    """A number out of a job's result."""
    value = result.get(name)
    if not isinstance(value, int | float):
        raise DemoError(f"the job's result has no {name}: {dict(result)}")
    return float(value)


def _kernels(contender: Contender) -> str:
    """The program that computed its layers: the adder backend that the job recorded, or torch."""
    return str(contender.job.environment.get("backend")) if contender.method == "adder" else "torch"


def report(contenders: list[Contender], digit: Path, data: Path, seconds: float) -> None:
    """Prints both side by side, and where their files lie."""
    table = Table(title="lenet5_bn on digits, one image", title_justify="left")
    table.add_column("")
    for contender in contenders:
        table.add_column(contender.method, justify="right")

    def row(name: str, *cells: str) -> None:
        table.add_row(name, *cells)

    costs = [contender.validation.model for contender in contenders]
    operations = [cost.get("operations") or {} for cost in costs]
    row("validation accuracy", *(percent(contender.accuracy) for contender in contenders))
    row("parameters", *(number(cost.get("parameters")) for cost in costs))
    row("additions", *(number(operation.get("add")) for operation in operations))
    row("multiplications", *(number(operation.get("mul")) for operation in operations))
    row("energy", *(f"{energy(cost.get('energy_joules'))} µJ" for cost in costs))
    row("kernels", *(_kernels(contender) for contender in contenders))
    row("training time", *(duration(contender.seconds) for contender in contenders))
    row(f"{digit.name} is a", *(f"{item.label} ({percent(item.probability, 1)})" for item in contenders))
    out = console()
    out.print(table)
    for contender in contenders:
        out.print(f"{contender.method:6} {contender.folder}", soft_wrap=True)
    out.print(f"image  {digit}", soft_wrap=True)
    out.print(f"logs   {data / 'logs'}", soft_wrap=True)
    out.print(f"Took {duration(seconds)}. Go on with it: adder up --data {data}", soft_wrap=True)


@contextmanager
def running_service(data: Path) -> Iterator[str]:
    """Runs ``adder up`` on a free port as a process of its own, and stops it in any case."""
    command = [sys.executable, "-P", "-c", "from adderclient.command import main; main()"]
    _say(f"Starting the service in {data}")
    service = subprocess.Popen(
        [*command, "up", "--port", "0", "--data", str(data)],
        env=os.environ | {"ADDER_WORKER_SLOTS": str(min(len(METHODS), cores()))},  # both networks train at once
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C is for the demo, which then stops the service in order
        preexec_fn=die_with_parent(signal.SIGTERM),
    )
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield _ready_url(service)
    finally:
        stop(service)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the demo through every ``finally``."""
    sys.exit(128 + number)


def _ready_url(service: subprocess.Popen[str]) -> str:
    """The address in the ready line. A thread reads it: a service that says nothing is not waited for forever."""
    lines: list[str] = []

    def read() -> None:
        if service.stdout is not None:
            lines.append(service.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(START_SECONDS)
    line = lines[0].strip() if lines else ""
    if not line.startswith(READY):
        raise DemoError("the service did not start; what it said is above")
    return line.removeprefix(READY)


def stop(service: subprocess.Popen[str]) -> None:
    """Stops ``adder up`` in order, and by force if it takes too long or Ctrl-C is pressed again."""
    try:
        service.send_signal(signal.SIGTERM)
        service.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(10)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
    finally:
        if service.stdout is not None:
            service.stdout.close()


def _say(text: str) -> None:
    errors_console().print(f"» {text}", markup=False, soft_wrap=True)
