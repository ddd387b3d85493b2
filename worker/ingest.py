"""The child's side of an `ingest` job: it makes a dataset of an upload, or lists what is wrong with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from addercore.config import IntakeOptions
from addercore.config.uploads import PREVIEW_NAME
from addercore.errors import AdderError, Stopped
from jobs.states import FailureCode
from worker import protocol
from worker.environment import report_environment
from worker.messages import Messages

REPORT_SECONDS = 0.5
"""Shortest time between two reports of progress."""


def ingest(order: protocol.JobOrder, messages: Messages, stop: threading.Event) -> protocol.Outcome:
    """Validates the upload. There are no checkpoints: a further attempt starts anew."""
    from addercore.data.intake import BadDataset, take_in  # loads torch

    if order.upload is None:
        raise AdderError("The upload is gone.")
    id_ = order.spec["dataset_id"]
    target = Path(order.workdir) / f"{id_}.safetensors"
    report_environment(messages, "cpu", computes=False)
    options = IntakeOptions.model_validate(order.spec["options"])
    sheet = Path(order.workdir) / PREVIEW_NAME
    messages.send(protocol.Progress(progress={"phase": "reading_data"}))
    report = Report(messages)
    report(0.0, 0)
    try:
        made = take_in(
            Path(order.upload), target, id_, options, preview=sheet, on_progress=report, should_stop=stop.is_set
        )
    except Stopped:
        return protocol.Stopped()
    except BadDataset as error:
        for sentence in error.problems:
            print(sentence, flush=True)
        return protocol.Failed(code=FailureCode.BAD_DATA, message=str(error), problems=tuple(error.problems))
    messages.send(protocol.Progress(progress={"phase": "storing"}))
    for sentence in made.notes:
        print(sentence, flush=True)
    messages.send(protocol.ArtifactReady(path=str(sheet), name=PREVIEW_NAME, kind="preview", media_type="image/png"))
    messages.send(
        protocol.DatasetReady(path=str(target), format=made.format, info=made.info.to_dict(), notes=tuple(made.notes))
    )
    print(f"Done: {made.info.description}.", flush=True)
    return protocol.Done(
        result={
            "dataset_id": id_,
            "train_size": made.info.train_size,
            "validation_size": made.info.validation_size,
            "classes": len(made.info.classes),
            "input_shape": list(made.info.input_shape),
        }
    )


class Report:
    """Sends progress, at most every `REPORT_SECONDS`."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._last = 0.0

    def __call__(self, fraction: float, images: int) -> None:
        now = time.monotonic()
        if self._last == 0.0 or fraction == 1.0 or now - self._last >= REPORT_SECONDS:
            self._last = now
            self._messages.send(protocol.Progress(progress={"fraction": round(fraction, 4), "step": images}))
