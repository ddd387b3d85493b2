"""`python -m worker.child`: the process in which one attempt runs. It speaks `worker.protocol`."""

from __future__ import annotations

import argparse
import errno
import faulthandler
import math
import re
import resource
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from addercore.arch import is_integer, read_manifest
from addercore.config import (
    AnalyzeConfig,
    BenchmarkConfig,
    DatasetInfo,
    InvalidConfig,
    QuantizeConfig,
    TrainConfig,
    register,
)
from addercore.config.evaluate import MISTAKES_NAME
from addercore.errors import AdderError, BadData, BadModel, CheckpointError, Diverged, LoaderLost, RankLost, Stopped
from jobs.scheduling import ranks_of
from jobs.states import FailureCode
from worker import protocol
from worker.confine import confine
from worker.environment import report_environment
from worker.handle import offer_to_oom_killer
from worker.ingest import ingest
from worker.memory import limit_memory
from worker.messages import Messages, die_with_supervisor, stop_on_sigterm

if TYPE_CHECKING:
    import addercore
    from addercore.train import Artifact, Phase

Result = TypeVar("Result")
FAILURES: dict[type[Exception], FailureCode] = {
    BadData: FailureCode.BAD_DATA,
    BadModel: FailureCode.BAD_DATA,
    CheckpointError: FailureCode.BAD_DATA,
    InvalidConfig: FailureCode.BAD_DATA,
    Diverged: FailureCode.DIVERGED,
    LoaderLost: FailureCode.WORKER_LOST,
    RankLost: FailureCode.WORKER_LOST,
}
"""Failure codes by exception; the first class that fits counts. `ending` handles all others."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the attempt that the arguments name; None: those of the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--messages-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    die_with_supervisor(arguments.lifeline_fd)
    stop = stop_on_sigterm()
    messages = Messages(arguments.messages_fd)
    order = protocol.JobOrder.model_validate_json(arguments.job.read_text())
    with suppress(OSError):  # what `ps -o comm` and `top` show; another system than Linux has no such file
        Path("/proc/self/comm").write_text(f"job {order.job_id[-11:]}")
    offer_to_oom_killer("self")  # the worker may be another user, who cannot say it for this process
    if order.confinement is not None:
        confine(
            Path(order.workdir),
            Path(order.datasets_dir),
            Path(order.confinement.data_dir),
            [Path(folder) for folder in order.confinement.readable],
            network=order.confinement.network,
        )
    limit_memory(order.spec["resources"]["memory_gb"])
    if order.dataset is not None:
        register(DatasetInfo.from_dict(order.dataset))
    try:
        outcome = RUNS[order.kind](order, messages, stop)
    except Exception as error:  # noqa: BLE001  (every failure becomes a code and a sentence)
        traceback.print_exc()
        outcome = ending(error, Path(order.workdir))
    messages.send(outcome)
    return 1 if isinstance(outcome, protocol.Failed) else 0


def ending(error: Exception, workdir: Path) -> protocol.Outcome:
    """The last message for an exception, in words for users; the traceback is in the log.

    A full disk is no failure: the job resumes from its last checkpoint once there is room. `WORKER_LOST` means that
    this machine failed, and the job is tried again.
    """
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return disk_full(workdir)
    if isinstance(error, OSError) and error.errno in DISK_BROKEN:
        return protocol.Failed(code=FailureCode.WORKER_LOST, message=f"The worker's disk fails: {error}.")
    if gpu_out_of_memory(error):
        return protocol.Failed(code=FailureCode.OUT_OF_MEMORY, message=GPU_MEMORY_ADVICE)
    if out_of_memory(error):
        return protocol.Failed(code=FailureCode.OUT_OF_MEMORY, message=MEMORY_ADVICE)
    for kind, code in FAILURES.items():
        if isinstance(error, kind):
            return protocol.Failed(code=code, message=str(error))
    return protocol.Failed(code=FailureCode.CODE_ERROR, message=f"{type(error).__name__}: {error}")


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_BROKEN = (errno.EIO, errno.EROFS, errno.ESTALE)


def disk_full(workdir: Path) -> protocol.Stopped:
    free = shutil.disk_usage(workdir).free / 1024**2
    return protocol.Stopped(
        reason="disk_full",
        message=f"The disk is full: {workdir} has {free:.1f} MiB left, too little for what the job had to write. "
        "Its last checkpoint is whole; make room there, then resume the job.",
    )


MEMORY_ADVICE = "The job ran out of memory. Use a smaller batch_size, or raise resources.memory_gb."
GPU_MEMORY_ADVICE = (
    "The GPU ran out of memory. Use a smaller batch_size (optimizer.accumulate keeps the images of a step), "
    "precision bf16, or a worker with a larger GPU; resources.memory_gb is about the host's memory only."
)


def gpu_out_of_memory(error: Exception) -> bool:
    """Whether a GPU ran out of memory. Torch's class is compared by name, as torch itself may have failed to load."""
    kind, text = type(error), str(error).lower()
    return (kind.__module__, kind.__name__) == ("torch", "OutOfMemoryError") or (
        isinstance(error, RuntimeError) and any(words in text for words in GPU_OUT_OF_MEMORY_WORDS)
    )


GPU_OUT_OF_MEMORY_WORDS = ("cuda out of memory", "cuda error: out of memory", "cublas_status_alloc_failed")


def out_of_memory(error: Exception) -> bool:
    """Whether the host's memory ran out. Python, the system, torch and the dynamic loader each raise their own
    error."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError | ImportError) and any(words in text for words in OUT_OF_MEMORY_WORDS))
        # the interpreter's error when a compiled module fails at an allocation without an exception of its own
        or (isinstance(error, SystemError) and NO_REASON.search(text) is not None and memory_is_limited())
    )


NO_REASON = re.compile("without (setting an exception|exception set)")


def memory_is_limited() -> bool:
    return resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY


OUT_OF_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory", "failed to map segment")


def train(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    result = resumed_fit(order, training_callbacks(messages, stop))
    if result.stopped:
        return protocol.Stopped()
    for item in result.artifacts:
        messages.send(artifact_ready(item))
        if item.name == "model.safetensors":
            model = protocol.ModelReady(path=str(item.path), manifest=read_manifest(item.path), metrics=result.metrics)
            messages.send(model)
    print(f"Done: {result.step} steps, {result.epoch} epochs.", flush=True)
    counts = TrainConfig.from_dict(order.spec).counts().totals()
    began = {} if result.initialised is None else {"initialised": result.initialised.to_dict()}
    return protocol.Done(result={**finite(result.metrics), "counts": counts, "validation": result.validation, **began})


def artifact_ready(item: Artifact) -> protocol.ArtifactReady:
    return protocol.ArtifactReady(path=str(item.path), name=item.name, kind=item.kind, media_type=item.media_type)


def resumed_fit(order: protocol.JobOrder, callbacks: addercore.Callbacks) -> addercore.FitResult:
    import addercore

    return from_newest(
        order,
        callbacks,
        lambda checkpoint: addercore.fit(
            TrainConfig.from_dict(order.spec),
            workdir=Path(order.workdir),
            data_dir=Path(order.datasets_dir),
            device=order.spec["resources"]["device"],
            threads=order.threads,
            loader_workers=order.spec["resources"].get("loader_workers", 0),  # older specs lack it
            callbacks=callbacks,
            resume_from=checkpoint,
            init_from=Path(order.model) if order.model else None,
            continue_from=Path(order.continue_from) if order.continue_from else None,
            teacher=Path(order.teacher) if order.teacher else None,
            processes=ranks_of(order.spec),
        ),
    )


def from_newest(
    order: protocol.JobOrder, callbacks: addercore.Callbacks, run: Callable[[Path | None], Result]
) -> Result:
    """Calls `run` with the newest checkpoint that is whole, else with None to start anew, and returns its result."""
    candidates: list[Path | None] = [*(Path(path) for path in order.checkpoints), None]
    for checkpoint in candidates:
        try:
            return run(checkpoint)
        except CheckpointError as error:
            if checkpoint is None:
                raise
            callbacks.on_event("checkpoint_lost", f"A checkpoint cannot be used: {error}", {})
    raise AssertionError("unreachable: the last candidate returns or raises")


def analyze(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    from addercore.analysis import analyze as run

    callbacks = training_callbacks(messages, stop)
    config = AnalyzeConfig.from_dict(order.spec)
    resources = order.spec["resources"]
    result = from_newest(
        order,
        callbacks,
        lambda checkpoint: run(
            config,
            workdir=Path(order.workdir),
            data_dir=Path(order.datasets_dir),
            device=resources["device"],
            threads=order.threads,
            loader_workers=resources["loader_workers"],
            callbacks=callbacks,
            resume_from=checkpoint,
            model=Path(order.model) if order.model else None,
        ),
    )
    if result.stopped:
        return protocol.Stopped()
    for item in result.artifacts:
        messages.send(artifact_ready(item))
    print(f"Done: {config.recipe} on {config.dataset.name}.", flush=True)
    return protocol.Done(result=finite(result.result))


def evaluate(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    import addercore

    if order.model is None:
        raise AdderError("The model to evaluate is gone.")
    callbacks = training_callbacks(messages, stop)
    report_environment(messages, order.spec["resources"]["device"])
    picture = Path(order.workdir) / MISTAKES_NAME
    try:
        if is_integer(Path(order.model)):
            from addercore.quant.running import RunningModel

            result = RunningModel(order.model, order.threads).evaluate(
                order.spec["dataset"]["name"],
                order.spec["split"],
                Path(order.datasets_dir),
                order.spec["batch_size"],
                callbacks,
                picture,
            )
            return evaluated(result, picture, messages)
        result = addercore.evaluate(
            addercore.load(order.model),
            order.spec["dataset"]["name"],
            split=order.spec["split"],
            data_dir=Path(order.datasets_dir),
            batch_size=order.spec["batch_size"],
            device=order.spec["resources"]["device"],
            callbacks=callbacks,
            loader_workers=order.spec["resources"].get("loader_workers", 0),  # older specs lack it
            picture=picture,
        )
    except Stopped:
        return protocol.Stopped()  # nothing is saved: a later attempt starts anew
    return evaluated(result, picture, messages)


def evaluated(result: addercore.EvaluateResult, picture: Path, messages: Messages) -> protocol.Done:
    if picture.exists():
        ready = {"path": str(picture), "name": picture.name, "kind": "mistakes", "media_type": "image/png"}
        messages.send(protocol.ArtifactReady(**ready))
    return protocol.Done(result=finite(result.to_dict()))


def quantize(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    from addercore.quant.conversion import MODEL, convert

    if order.model is None:
        raise AdderError("The model to quantise is gone.")
    callbacks, model = training_callbacks(messages, stop), Path(order.model)
    report_environment(messages, order.spec["resources"]["device"])
    config = QuantizeConfig.from_dict(order.spec)
    workdir, datasets = Path(order.workdir), Path(order.datasets_dir)
    try:
        made = from_newest(
            order, callbacks, lambda checkpoint: convert(config, model, workdir, datasets, callbacks, checkpoint)
        )
    except Stopped:
        return protocol.Stopped()  # finished epochs of fine-tuning are in their checkpoints
    accuracies = (made.result[numbers]["accuracy"] for numbers in ("float", "integer"))
    print("Done: accuracy {:.2%} in floats, {:.2%} in {} bits.".format(*accuracies, config.bits), flush=True)
    for item in made.artifacts:
        messages.send(artifact_ready(item))
        if item.name == MODEL:
            metrics = made.manifest["metrics"]
            messages.send(protocol.ModelReady(path=str(item.path), manifest=made.manifest, metrics=metrics))
    return protocol.Done(result=finite(made.result))


def benchmark(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    from addercore.latency import benchmark as run

    if order.model is None:
        raise AdderError("The model to measure is gone.")
    report_environment(messages, "cpu")
    config, callbacks = BenchmarkConfig.from_dict(order.spec), training_callbacks(messages, stop)
    try:
        made = run(config, Path(order.model), Path(order.workdir), order.threads, callbacks)
    except Stopped:
        return protocol.Stopped()  # nothing is saved: a later attempt measures anew
    for item in made.artifacts:
        messages.send(artifact_ready(item))
    print(f"Done: {len(made.result['rows'])} rows.", flush=True)
    return protocol.Done(result=finite(made.result))


RUNS: dict[str, Callable[[protocol.JobOrder, Messages, threading.Event], protocol.Outcome]] = {
    "train": train,
    "evaluate": evaluate,
    "analyze": analyze,
    "quantize": quantize,
    "benchmark": benchmark,
    "ingest": ingest,
}
"""What runs each kind of job."""


def training_callbacks(messages: Messages, stop: threading.Event) -> addercore.Callbacks:
    """Callbacks that send what `fit` and `evaluate` report. Defined in here because `addercore.Callbacks` loads
    torch."""
    import addercore

    class ToSupervisor(addercore.Callbacks):
        def on_start(self, environment: dict[str, Any]) -> None:
            messages.send(protocol.Environment(environment=environment))

        def on_phase(self, phase: Phase) -> None:
            messages.send(protocol.Progress(progress={"phase": phase}))

        def on_metrics(self, points: list[addercore.MetricPoint]) -> None:
            log_epochs(points)
            messages.send(
                protocol.Metrics(
                    points=tuple(
                        protocol.Point(
                            name=p.name,
                            step=p.step,
                            epoch=p.epoch,
                            value=p.value if math.isfinite(p.value) else None,
                            time=p.time_ms,
                        )
                        for p in points
                    )
                )
            )

        def on_progress(self, progress: addercore.Progress) -> None:
            fields = {name: getattr(progress, name) for name in PROGRESS_FIELDS}
            messages.send(protocol.Progress(progress=fields))

        def on_event(self, type: str, message: str, data: dict[str, Any]) -> None:
            print(message, flush=True)
            messages.send(protocol.Note(event=type, message=message, data=finite(data)))

        def on_failed(self, artifacts: list[Artifact]) -> None:
            for item in artifacts:
                messages.send(artifact_ready(item))

        def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
            messages.send(protocol.CheckpointSaved(path=str(path), step=step, epoch=epoch, sha256=sha256))

        def should_stop(self) -> bool:
            return stop.is_set()

    return ToSupervisor()


def log_epochs(points: list[addercore.MetricPoint]) -> None:
    """Prints a line for each validated epoch into the job's log; the metrics of an analysis begin with the run's
    name."""
    values = {point.name: point.value for point in points}
    for name in values:
        run, found, _ = name.rpartition("val/accuracy")
        if found:
            shown = "  ".join(f"{run}{one} {values[run + one]:.4f}" for one in LOGGED if run + one in values)
            print(f"epoch {points[-1].epoch:4d}  step {points[-1].step:7d}  {shown}", flush=True)


LOGGED = ("val/loss", "val/accuracy")
PROGRESS_FIELDS = ("epoch", "epochs", "step", "steps", "fraction", "images_per_second", "eta_seconds")


def finite(value: Any) -> Any:
    """Replaces NaN and infinities by None, as JSON has none of them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
