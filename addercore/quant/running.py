"""An integer model's file inside of the service: it predicts and is evaluated as a float model is."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray

from addercore import runtime
from addercore.config import ImageOptions, Part
from addercore.config.fields import checked
from addercore.config.predict import TransparentOn, ValueRange
from addercore.data.image_input import ImageLike, read_image
from addercore.errors import BadModel, Stopped
from addercore.io import Prediction
from addercore.quant import fast
from addercore.quant.pixels import as_bytes, dataset_bytes
from addercore.runtime import format as files
from addercore.train import Callbacks, EvaluateResult, Progress
from addercore.train.evaluation import BATCH, TOP5_FROM, Seen, fitting
from addercore.train.mistakes import Mistakes, sheet

Scores = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class RunningModel:
    """An integer model that is ready to predict.

    The engine in C computes, or torch where the package was installed without a C compiler: the same bits.

    Args:
        path: a `model.adder`. Its checksums are compared.
        threads: of the engine; they share the images of a batch.

    Raises:
        BadModel: the file is missing, damaged or of another version, or its manifest names other classes.

    Attributes:
        manifest: what the file says of itself.
        input_shape: (C, H, W) of the images.
        classes: their names.
        terms: of all sums for one image: what the file costs, whatever its manifest says.
        engine: what computes.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        program = None
        try:
            model = runtime.load(path)
            model.verify()
            self.manifest: dict[str, Any] = model.manifest
            self.input_shape = model.input_shape
            self.engine, self.terms, count = model.engine, model.terms, len(model.classes)
            self.scores: Scores = lambda images: model.run(images, threads)
        except RuntimeError:  # no library
            program = files.read(path)
            self.manifest, self.input_shape, self.engine = program.manifest, program.input_shape, "torch"
            self.terms, count = program.terms, program.classes
            self.scores = lambda images: fast.run(program, images)
        names = self.manifest.get("classes")
        if not isinstance(names, list) or len(names) != count:
            raise BadModel(f"{path}: the manifest's classes must be {count} names, got {reprlib.repr(names)}")
        self.classes: list[str] = names

    def predict(
        self, image: ImageLike, value_range: ValueRange = "auto", transparent_on: TransparentOn = "white"
    ) -> Prediction:
        """The class of one image, read as for a float model; arguments and errors as of `addercore.Model.predict`."""
        options = checked(ImageOptions, {"value_range": value_range, "transparent_on": transparent_on})
        found = read_image(image, self.input_shape[0], options)
        pixels = as_bytes(torch.from_numpy(found.pixels)[None], self.input_shape[1:])
        shares = torch.from_numpy(self.scores(pixels))[0].softmax(0).tolist()
        best = max(range(len(shares)), key=shares.__getitem__)
        return Prediction(self.classes[best], dict(zip(self.classes, shares, strict=True)), found.notes)

    def evaluate(
        self,
        dataset: str,
        split: Part = "validation",
        data_dir: Path | None = None,
        batch_size: int = BATCH,
        callbacks: Callbacks | None = None,
        picture: Path | None = None,
    ) -> EvaluateResult:
        """Evaluates it on a split of a dataset; arguments, result and errors as of `addercore.evaluate`."""
        callbacks = callbacks or Callbacks()
        fitting(dataset, self.input_shape, self.classes)
        callbacks.on_phase("reading_data")
        seen = Seen.of(self.manifest, dataset, split)
        images, labels = dataset_bytes(dataset, split, data_dir, seen.holdout)
        callbacks.on_phase("validating")
        starts = range(0, len(images), batch_size)
        parts = []
        for number, start in enumerate(starts, 1):
            parts.append(torch.from_numpy(self.scores(images[start : start + batch_size])))
            callbacks.on_progress(Progress(1, 1, number, len(starts), number / len(starts), None, None))
            if number < len(starts) and callbacks.should_stop():
                raise Stopped(f"stopped on request after {number} of {len(starts)} batches")
        result = _result(torch.cat(parts), torch.from_numpy(labels), seen)
        if picture is not None and result.mistakes:
            sheet(result.mistakes, self.classes, lambda index: torch.from_numpy(images[index]), picture)
        return result


def _result(scores: torch.Tensor, labels: torch.Tensor, seen: Seen) -> EvaluateResult:
    classes = scores.shape[1]
    pairs = torch.bincount(labels * classes + scores.argmax(1), minlength=classes * classes).view(classes, classes)
    within5 = None
    if classes >= TOP5_FROM:
        within5 = float((scores.topk(5).indices == labels[:, None]).any(1).double().mean())
    made = Mistakes()
    made.add(scores, labels)
    return EvaluateResult(
        accuracy=pairs.diagonal().sum().item() / len(labels),
        loss=float(nnf.cross_entropy(scores.double(), labels)),
        confusion_matrix=pairs.tolist(),
        images=len(labels),
        top5=within5,
        split=seen.split,
        unseen=seen.unseen,
        mistakes=made.worst(),
    )
