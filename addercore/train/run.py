"""`fit`: trains in one call, and leaves the caller's process as it found it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from addercore.arch import Initialised, initialised, read_manifest
from addercore.config import TrainConfig, dataset, unshared
from addercore.data import parts
from addercore.devices import resolve_device
from addercore.errors import BadData, BadModel, Diverged, expect
from addercore.io import load_weights
from addercore.networks import build_for
from addercore.ops import select
from addercore.train import checkpoint
from addercore.train.artifacts import can_draw, write_artifacts, write_record
from addercore.train.batches import Shard
from addercore.train.callbacks import Callbacks
from addercore.train.distillation import load_teacher
from addercore.train.environment import describe
from addercore.train.isolation import isolated
from addercore.train.loader import MAX_WORKERS
from addercore.train.ranks import MAX_PROCESSES, Ranks
from addercore.train.reports import Artifact
from addercore.train.state import Position
from addercore.train.stepping import Stepper
from addercore.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended.

    Attributes:
        stopped: the callbacks asked to stop before the end. There is a checkpoint then, and no artifacts.
        step: optimizer steps done.
        epoch: epochs completed.
        metrics: of the published epoch, by name.
        artifacts: the files of a finished run: model, manifest, metrics, summary and curves.
        initialised: the layers that began with the weights of `init_from`, and those that were drawn anew; None
            without `init_from`.
        validation: which images validated the run: `of` ("test": the published ones, or "train": a holdout) and how
            many `images`; of a holdout also its share, its seed, and the sha256 of the images' indices, which rise and
            are written as little-endian 64-bit integers.
    """

    stopped: bool
    step: int
    epoch: int
    metrics: dict[str, float]
    artifacts: list[Artifact]
    initialised: Initialised | None = None
    validation: dict[str, Any] = field(default_factory=dict)


def fit(
    config: TrainConfig,
    *,
    workdir: Path,
    data_dir: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    loader_workers: int = 0,
    backend: str | None = None,
    callbacks: Callbacks | None = None,
    resume_from: Path | None = None,
    init_from: Path | None = None,
    continue_from: Path | None = None,
    teacher: Path | None = None,
    relabel: Callable[[Tensor], Tensor] | None = None,
    curves: bool = True,
    processes: int = 1,
) -> FitResult:
    """Trains a network (Algorithm 1).

    Equal configurations give equal bytes on the same machine, torch, backend and thread count, also if a run was
    stopped or killed and resumed. Torch's settings and random generators are restored at the end.

    Args:
        config: what to train, on what, and how.
        workdir: gets the artifacts; checkpoints go to `workdir/checkpoints`.
        data_dir: folder with a folder of files for each dataset; digits need none.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        threads: of torch and the kernels; None leaves torch's number.
        loader_workers: processes that read and decode the training images, 0 to 16. Their number changes no byte.
        backend: name of the kernels of adder layers, as for `adder_conv2d`.
        callbacks: get reports of the run, and may stop it.
        resume_from: a checkpoint, or a folder of checkpoints, of which the newest undamaged one is taken.
        init_from: a model file whose weights a new run starts from. Where its classes are others, the last layer
            starts anew (transfer learning).
        continue_from: a checkpoint of another run of the same network and dataset. A new run goes on from its weights,
            batch statistics, momentum and random generators, with epochs and learning rates of its own.
        teacher: file of the model that `config.distill` names.
        relabel: replaces the labels (N,) of the training images by others (N,), as the controls of analyses do.
        curves: draw curves.png, if matplotlib is installed.
        processes: that compute each batch together, 1 to 64, each with `threads` threads: this one and further ones
            that it starts and ends. On GPUs each has one of its own, from the first on. The batches are those of one
            process; sums over images are added up in another order, so the last bits depend on the number.

    Returns:
        How the run ended, with its metrics and artifacts.

    Raises:
        TypeError: `config` is none.
        ValueError: arguments that are out of range or do not go with `config`.
        BadData: files of the dataset are missing or damaged. Metrics, summary and curves up to there are in `workdir`.
        BadModel: `init_from` or `teacher` is damaged, or is a model of another network or task.
        CheckpointError: `resume_from` or `continue_from` is damaged or belongs to another configuration.
        Diverged: the loss became NaN or infinite. Metrics, summary and curves up to there are in `workdir`.
        LoaderLost: a loader process was ended from outside.
        RankLost: one of the `processes` was ended from outside.
        MemoryError: a loader process or a kernel has no memory left.
        OSError: the disk is full or fails.

    Source:
        Chen et al., AdderNet (CVPR 2020), https://arxiv.org/abs/1912.13200, Algorithm 1.
    """
    expect("config", config, TrainConfig, "TrainConfig.from_dict(…) makes one of a dict")
    target = resolve_device(device)
    chosen = select(target, torch.float32, backend)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be ≥ 1, got {threads}")
    if not 0 <= loader_workers <= MAX_WORKERS:
        raise ValueError(f"loader_workers must be 0 to {MAX_WORKERS}, got {loader_workers}")
    _check_processes(config, processes, target, relabel is not None)
    if config.init_from is not None and init_from is None and resume_from is None:
        raise ValueError(f"the configuration starts from model {config.init_from!r}: pass its file as init_from")
    callbacks = callbacks or Callbacks()
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with isolated(config.seed, target, threads):
        environment = describe(target, chosen.backend, chosen.note, processes)
        callbacks.on_start(environment)
        start = None if init_from is None else _start(config, Path(init_from))
        model = _model(config, chosen.backend.name, start)
        if start is not None and start.layers.new and resume_from is None:
            new = ", ".join(start.layers.new)
            message = f"{len(start.layers.taken)} layers start from the stored model, of other classes; {new} anew"
            callbacks.on_event("initialised", message, start.layers.to_dict())
        taught_by = load_teacher(config, None if teacher is None else Path(teacher), target, chosen.backend.name)
        callbacks.on_phase("reading_data")
        data = parts(config.dataset.name, data_dir, config.holdout)
        train = data.train
        if relabel is not None:
            train = train.relabelled(relabel(train.labels))

        def start_ranks(stepper: Stepper, position: Position) -> Ranks:
            return Ranks.start(
                stepper,
                train,
                position,
                backend=chosen.backend.name,
                loader_workers=loader_workers,
                teacher=None if teacher is None else Path(teacher),
            )

        trainer = Trainer(
            config,
            model.to(target),
            train,
            data.validation,
            target,
            workdir / "checkpoints",
            callbacks,
            environment,
            loader_workers,
            taught_by,
            Shard(0, processes),
            None if processes == 1 else start_ranks,
        )
        if resume_from is not None:
            _resume(trainer, Path(resume_from), callbacks)
        elif continue_from is not None:
            found = checkpoint.load(Path(continue_from))
            trainer.continue_from(found.state, found.path)
        try:
            trainer.run()
        except (BadData, Diverged) as error:
            _leave_record(trainer, workdir, callbacks, error, curves)
            raise
        return _result(trainer, workdir, callbacks, curves, None if start is None else start.layers, data.record)


def _check_processes(config: TrainConfig, processes: int, device: torch.device, relabelled: bool) -> None:
    if not 1 <= processes <= MAX_PROCESSES:
        raise ValueError(f"processes must be 1 to {MAX_PROCESSES}, got {processes}")
    if processes == 1:
        return
    if (reason := unshared(config, processes)) is not None:
        raise ValueError(reason)
    if relabelled:
        raise ValueError(f"relabel works in one process, got processes = {processes}")
    if device.type == "cuda" and processes > (here := torch.cuda.device_count()):
        raise ValueError(f"processes must be at most {here}, the number of GPUs that torch sees, got {processes}")


@dataclass(frozen=True, slots=True)
class _Start:
    """What a new run takes from a stored model."""

    layers: Initialised
    weights: dict[str, Tensor]


def _start(config: TrainConfig, path: Path) -> _Start:
    """Reads the weights of a stored model, without those of layers that start anew; its method may be another."""
    weights = load_weights(path)
    try:
        layers = initialised(read_manifest(path), config.network(), dataset(config.dataset.name).classes)
    except ValueError as error:
        raise BadModel(f"{path}: cannot start {config.model.arch} from it: it {error}") from error
    return _Start(layers, {name: value for name, value in weights.items() if name.rpartition(".")[0] in layers.taken})


def _model(config: TrainConfig, backend: str, start: _Start | None) -> nn.Module:
    model = build_for(config, backend)
    if start is not None:
        model.load_state_dict({**model.state_dict(), **start.weights})
    return model


def _resume(trainer: Trainer, path: Path, callbacks: Callbacks) -> None:
    found = checkpoint.load(path)
    for error in found.lost:
        callbacks.on_event("checkpoint_lost", f"a checkpoint cannot be used: {error}", {})
    trainer.load_state_dict(found.state, found.path)


def _leave_record(trainer: Trainer, workdir: Path, callbacks: Callbacks, error: Exception, curves: bool) -> None:
    """Writes the record of a failed run. If the disk is full, the run's own error is raised all the same."""
    position = trainer.position
    summary = {
        "failed": str(error),
        "epochs": position.epoch,
        "steps": position.step,
        "environment": trainer.environment,
    }
    try:
        artifacts = write_record(workdir, trainer.config, dict(trainer.metrics), trainer.history, summary, curves)
    except OSError as full:
        callbacks.on_event("no_curves", f"the metrics of the failed run cannot be written: {full}", {})
    else:
        callbacks.on_failed(artifacts)


def _result(
    trainer: Trainer,
    workdir: Path,
    callbacks: Callbacks,
    curves: bool,
    start: Initialised | None,
    validation: dict[str, Any],
) -> FitResult:
    position = trainer.position
    if trainer.stopped:
        return FitResult(True, position.step, position.epoch, dict(trainer.metrics), [], start, validation)
    callbacks.on_phase("storing")
    best = trainer.best
    weights = trainer.model.state_dict() if best is None else best.weights
    metrics = trainer.metrics if best is None else best.metrics
    summary = {
        "epochs": position.epoch,
        "steps": position.step,
        "published_epoch": position.epoch if best is None else best.epoch,
        "environment": trainer.environment,
        "validation": validation,
        **({} if start is None else {"initialised": start.to_dict()}),
    }
    if curves and not can_draw():
        callbacks.on_event("no_curves", "curves.png needs matplotlib: pip install 'adderworks[core]'", {})
    teacher = None if trainer.teacher is None else trainer.teacher.record()
    history = trainer.history
    artifacts = write_artifacts(workdir, trainer.config, weights, dict(metrics), history, summary, teacher, curves)
    return FitResult(False, position.step, position.epoch, dict(metrics), artifacts, start, validation)
