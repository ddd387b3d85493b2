"""`python -m worker.child`: the process in which one attempt runs; it speaks `worker.protocol`."""

from __future__ import annotations

import argparse
import errno
import faulthandler
import math
import resource
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addercore.errors import AdderError, BadData, BadModel, CheckpointError, Diverged
from addercore.spec import InvalidConfig, TrainConfig, read_manifest
from jobs.states import FailureCode
from worker import protocol
from worker.messages import Messages, die_with_supervisor, stop_on_sigterm

if TYPE_CHECKING:
    import addercore

GIB = 1024**3
FAILURES: dict[type[Exception], FailureCode] = {
    BadData: FailureCode.BAD_DATA,
    BadModel: FailureCode.BAD_DATA,
    InvalidConfig: FailureCode.BAD_DATA,
    Diverged: FailureCode.DIVERGED,
}
"""The first class that fits names the failure's code; anything else is a code error."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--messages-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    arguments = parser.parse_args()
    faulthandler.enable()
    die_with_supervisor(arguments.lifeline_fd)
    stop = stop_on_sigterm()
    messages = Messages(arguments.messages_fd)
    order = protocol.JobOrder.model_validate_json(arguments.job.read_text())
    limit_memory(order.spec["resources"]["memory_gb"])
    try:
        outcome = {"train": train, "evaluate": evaluate}[order.kind](order, messages, stop)
    except Exception as error:  # noqa: BLE001  (every failure must become a code and a sentence)
        traceback.print_exc()
        outcome = failure(error)
    messages.send(outcome)
    return 1 if isinstance(outcome, protocol.Failed) else 0


def limit_memory(gigabytes: float | None) -> None:
    if gigabytes is not None:
        limit = int(gigabytes * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def failure(error: Exception) -> protocol.Failed:
    """The code and the sentence a user reads; the log holds the traceback."""
    for kind, code in FAILURES.items():
        if isinstance(error, kind):
            return protocol.Failed(code=code, message=str(error))
    if out_of_memory(error):
        return protocol.Failed(
            code=FailureCode.OUT_OF_MEMORY,
            message="The job ran out of memory. Use a smaller batch_size, or raise resources.memory_gb.",
        )
    return protocol.Failed(code=FailureCode.CODE_ERROR, message=f"{type(error).__name__}: {error}")


def out_of_memory(error: Exception) -> bool:
    """Python, the system, torch (a RuntimeError or a subclass) and the loader of libraries each say it in their way."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError | ImportError) and any(words in text for words in OUT_OF_MEMORY_WORDS))
    )


OUT_OF_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory", "failed to map segment")


def train(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:

    result = resumed_fit(order, training_callbacks(messages, stop))
    if result.stopped:
        return protocol.Stopped()
    for item in result.artifacts:
        ready = protocol.ArtifactReady(path=str(item.path), name=item.name, kind=item.kind, media_type=item.media_type)
        messages.send(ready)
        if item.name == "model.safetensors":
            model = protocol.ModelReady(path=str(item.path), manifest=read_manifest(item.path), metrics=result.metrics)
            messages.send(model)
    print(f"Done: {result.step} steps, {result.epoch} epochs.", flush=True)
    return protocol.Done(result=finite(result.metrics))


def resumed_fit(order: protocol.JobOrder, callbacks: addercore.Callbacks) -> addercore.FitResult:
    """`fit`, from the newest checkpoint that is whole, else from the start."""
    import addercore

    candidates: list[Path | None] = [*(Path(path) for path in order.checkpoints), None]
    for checkpoint in candidates:
        try:
            return addercore.fit(
                TrainConfig.from_dict(order.spec),
                workdir=Path(order.workdir),
                data_dir=Path(order.datasets_dir),
                device=order.spec["resources"]["device"],
                threads=order.threads,
                callbacks=callbacks,
                resume_from=checkpoint,
                init_from=Path(order.model) if order.model else None,
            )
        except CheckpointError as error:
            if checkpoint is None:
                raise
            callbacks.on_event("checkpoint_lost", f"A checkpoint cannot be used: {error}", {})
    raise AssertionError("unreachable: the last candidate returns or raises")


def evaluate(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    import addercore

    if order.model is None:
        raise AdderError("The model to evaluate is gone.")
    callbacks = training_callbacks(messages, stop)
    result = addercore.evaluate(
        addercore.load(order.model),
        order.spec["dataset"]["name"],
        split=order.spec["split"],
        data_dir=Path(order.datasets_dir),
        batch_size=order.spec["batch_size"],
        device=order.spec["resources"]["device"],
        callbacks=callbacks,
    )
    return protocol.Done(result=finite(result.to_dict()))


def training_callbacks(messages: Messages, stop: threading.Event) -> addercore.Callbacks:
    """Everything `fit` and `evaluate` report, as messages. Defined here because `addercore.Callbacks` loads torch."""
    import addercore

    class ToSupervisor(addercore.Callbacks):
        def on_start(self, environment: dict[str, Any]) -> None:
            messages.send(protocol.Environment(environment=environment))

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

        def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
            messages.send(protocol.CheckpointSaved(path=str(path), step=step, epoch=epoch, sha256=sha256))

        def should_stop(self) -> bool:
            return stop.is_set()

    return ToSupervisor()


def log_epochs(points: list[addercore.MetricPoint]) -> None:
    """A line in the job's log for each epoch that was validated."""
    values = {point.name: point.value for point in points}
    if "val/accuracy" in values:
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in LOGGED if name in values)
        print(f"epoch {points[-1].epoch:4d}  step {points[-1].step:7d}  {shown}", flush=True)


LOGGED = ("val/loss", "val/accuracy")
PROGRESS_FIELDS = ("epoch", "epochs", "step", "steps", "fraction", "images_per_second", "eta_seconds")


def finite(value: Any) -> Any:
    """JSON has no NaN: a number that is none becomes null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
