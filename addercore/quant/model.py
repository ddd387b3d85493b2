"""`quantize`: a float model becomes an integer one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addercore.arch import check_manifest
from addercore.errors import expect
from addercore.io import Model
from addercore.quant import fast
from addercore.quant.build import CORRECTIONS, Correction, assemble, corrected
from addercore.quant.calibrate import kept_images, plan_for, signal_to_noise
from addercore.quant.finetune import Finetune, State, finetuned
from addercore.quant.graph import Graph, floats
from addercore.quant.lower import lower
from addercore.quant.manifest import manifest_of
from addercore.quant.plan import RESCALINGS, Plan, Rescaling, Tell, untold
from addercore.runtime.program import SCORES, Program

Images = NDArray[np.uint8]
FEW: Final = 32
"""Calibration images, below which a warning is given."""


@dataclass(frozen=True, slots=True)
class IntegerModel:
    """A network in integers.

    Attributes:
        program: what an engine runs; its manifest says how it was made.
        report: by operation, how well calibration images came through: {"quantiles": {value: part left out},
            "signal_to_noise": {operation: decibels}}.
        graph, plan: the float network and the scales from which the program was assembled.
    """

    program: Program
    report: dict[str, Any]
    graph: Graph
    plan: Plan

    def run(self, images: Images) -> NDArray[np.float32]:
        """Scores (N, classes) of uint8 images (N, C, H, W), the same bits as every engine's."""
        return fast.run(self.program, images)


def quantize(
    model: Model,
    images: Images,
    *,
    bits: int = 8,
    groups: int = 1,
    rescale: Rescaling = "multiply",
    finetune: Finetune | Mapping[str, Any] | None = None,
    labels: NDArray[np.int64] | None = None,
    calibration_images: int = 512,
    correction: Correction = "affine",
    search: bool = True,
    seed: int = 0,
    resume: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
    on_progress: Tell = untold,
) -> IntegerModel:
    """Makes an integer model of a float one (docs/quantisation.md).

    Args:
        model: of method "adder" or "conv"; `addercore.load` gives it.
        images: uint8 (N, C, H, W) of the network's size, from the training, not the images it is tested on.
        bits: of weights and activations of the method's layers, 2…8. Convolutions at the ends of an adder network, and
            values that none of its layers reads, have 8.
        groups: of filters in an adder layer, each with a range of its own, 1…8. Convolutions have a step each anyway.
        rescale: "multiply" by 32-bit integers after each sum, or "shift": by powers of two, so that a network of adder
            layers multiplies nowhere.
        finetune: {"epochs": 2, "lr": 0.01} trains on with rounded numbers; it takes all `images`.
        labels: int64 (N,), the classes: for an even draw of calibration images, and for fine-tuning with `distill` < 1.
            Without them it follows the float model's scores alone.
        calibration_images: how many of the images, evenly drawn, decide the scales.
        correction: of each channel by calibration: "affine" fits gain and offset, "bias" the offset, "none" nothing.
        search: each scale by the error of the layers that read it; else the largest number seen is the range's end.
        seed: draws calibration images and the order of fine-tuning.
        resume: the state that `on_epoch` was given, to go on behind that epoch.
        on_epoch: is told the state of fine-tuning after each epoch.
        on_progress: is told often what is being done and what part of it is. An exception of it ends the call.

    Raises:
        ValueError: an option out of its range, a binary method, images of another shape, or too few to calibrate with.
        BadModel: weights that are not finite, or sums that 32 bits could not hold.
    """
    _check(bits, groups, rescale, correction)
    expect("model", model, Model, "addercore.load gives one")
    settings = None if finetune is None else Finetune.of(finetune)
    check_manifest(model.manifest)
    graph = lower(model)
    pixels = checked_images(images, graph)
    classes = None if labels is None else _checked_labels(labels, pixels, len(model.classes))
    method = str(model.manifest["network"]["method"])
    chosen = evenly(pixels, classes, calibration_images, seed)
    plan, quantiles = plan_for(graph, chosen, method, bits, groups, rescale, search, on_progress)
    known = floats(graph, kept_images(graph, chosen))
    _warn_of_one_class(known[SCORES])
    done = corrected(graph, plan, known, correction, on_progress)
    result, plan = done.graph, done.plan
    stored = graph.stored_in()
    kept = (
        (number, plan.formats[stored[number]].real(codes)) for number, codes in done.codes.items() if number != SCORES
    )
    report = {"quantiles": quantiles, "signal_to_noise": signal_to_noise(graph, known, kept)}
    if settings is not None:
        result = finetuned(result, plan, graph, pixels, classes, settings, seed, resume, on_epoch, on_progress)
    manifest = manifest_of(model, result, plan, correction, settings)
    return IntegerModel(assemble(result, plan, manifest), report, result, plan)


def _check(bits: int, groups: int, rescale: str, correction: str) -> None:
    for name, value, most, least in (("bits", bits, 8, 2), ("groups", groups, 8, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} must be an integer from {least} to {most}, got {value!r}")
    if rescale not in RESCALINGS:
        raise ValueError(f"unknown rescale {rescale!r}; known: {', '.join(RESCALINGS)}")
    if correction not in CORRECTIONS:
        raise ValueError(f"unknown correction {correction!r}; known: {', '.join(CORRECTIONS)}")


def checked_images(images: Images, graph: Graph) -> Tensor:
    """The images as a tensor; `ValueError` where they are none of this network's."""
    found = np.asarray(images)
    if found.dtype != np.uint8 or found.ndim != 4 or tuple(found.shape[1:]) != graph.input_shape:
        raise ValueError(
            f"images must be uint8 (N, {', '.join(map(str, graph.input_shape))}), got {found.dtype} {found.shape}; "
            "addercore.quant.pixels makes them"
        )
    if len(found) < 2 or (found == found[:1]).all():
        raise ValueError(
            f"images must be several different ones, got {len(found)}{' alike' if len(found) > 1 else ''}: scales "
            "cannot be told from one; give some hundred of the training's"
        )
    if len(found) < FEW:
        warnings.warn(
            f"{len(found)} calibration images are few: scales and biases will be inaccurate. Give some hundred.",
            stacklevel=3,
        )
    return torch.from_numpy(np.ascontiguousarray(found))


def _checked_labels(labels: NDArray[np.int64], images: Tensor, classes: int) -> Tensor:
    found = torch.from_numpy(np.asarray(labels).astype(np.int64))
    if found.shape != (len(images),) or (len(found) and not 0 <= int(found.min()) <= int(found.max()) < classes):
        raise ValueError(
            f"labels must be {len(images)} integers from 0 to {classes - 1}, got shape {tuple(found.shape)}"
        )
    if len(torch.unique(found)) < 2:
        raise ValueError(
            f"labels are all of class {int(found[0])}: scales that suit one class do not suit the others; "
            "give images of all classes"
        )
    return found


def evenly(images: Tensor, labels: Tensor | None, count: int, seed: int) -> Tensor:
    """`count` of the images in a drawn order, of each class nearly as many where labels are known."""
    if count < 2:
        raise ValueError(f"calibration_images must be ≥ 2, got {count}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    if labels is not None:
        turn = torch.zeros(len(order), dtype=torch.int64)
        for one in torch.unique(labels):
            mine = labels[order] == one
            turn[mine] = torch.arange(int(mine.sum()))
        order = order[turn.argsort(stable=True)]
    return images[order[:count]]


def _warn_of_one_class(scores: Tensor) -> None:
    if len(torch.unique(scores.flatten(1).argmax(1))) < 2:
        warnings.warn(
            "the float model takes all calibration images for one class: give images of all, or train it longer",
            stacklevel=3,
        )
