"""What a spec refers to must be there: models by id, datasets by their files."""

from __future__ import annotations

from pydantic import ValidationError

from addercore import arch, config
from api.datasets.availability import require_dataset
from api.http.problems import Problem, bad_fields, invalid
from jobs.access.scope import OwnTransaction
from jobs.errors import DatasetUnusable, NotFound
from jobs.ids import ID_PATTERN
from jobs.repository import datasets, keeping, models
from jobs.settings import Settings
from jobs.spec import (
    SUBMITTED_SPEC,
    AnalyzeSpec,
    BenchmarkSpec,
    Continuation,
    EvaluateSpec,
    QuantizeSpec,
    SubmittedSpec,
    TrainSpec,
)
from jobs.tables import Job, Model

DATASET = "/dataset/name"
INTEGERS = "is an integer model, which has no float weights; name the model in its derived_from"


def parse_spec(document: object, session: OwnTransaction) -> SubmittedSpec:
    """The spec with every default filled in, its dataset by the name or id that the service stores.

    Raises Problem with a pointer to each bad field.
    """
    unusable: str | None = None
    document = keeping.with_ids(session, document)
    try:
        document = datasets.resolved(session, _on_its_models_dataset(session, document))
    except DatasetUnusable as error:
        unusable = str(error)
    found: list[tuple[str, str]] = []
    try:
        spec = SUBMITTED_SPEC.validate_python(document)
    except ValidationError as error:
        found = bad_fields(error, SUBMITTED_SPEC)
    if unusable is not None:
        found = [(DATASET, unusable), *((where, why) for where, why in found if where != DATASET)]
    if found:
        raise invalid(found)
    return spec


def continued_spec(document: object, finished: Job, labels: dict[str, str], session: OwnTransaction) -> TrainSpec:
    """The spec of a training that goes on from a finished job.

    Args:
        document: the request's body, its own epochs and learning rate.
        finished: the job.
        labels: its labels as they are now.

    Raises:
        Problem: 422 with a pointer to each bad field of the body; 409 where the finished job is no training.
    """
    try:
        own = Continuation.model_validate(document)
    except ValidationError as error:
        raise invalid(bad_fields(error, Continuation)) from None
    if finished.kind != "train":
        raise Problem("conflict", f"The job is of kind {finished.kind}; only a training can be continued.")
    try:
        SUBMITTED_SPEC.validate_python(finished.spec)
    except ValidationError as error:
        (where, why), *_ = bad_fields(error, SUBMITTED_SPEC)
        raise Problem(
            "conflict", f"The job cannot be continued, as its spec is of another version: {where} {why}"
        ) from None
    spec = parse_spec(own.spec({**finished.spec, "labels": labels}), session)
    assert isinstance(spec, TrainSpec)
    return spec


def _on_its_models_dataset(session: OwnTransaction, document: object) -> object:
    """An analysis of a model that names no dataset is about the one on which the model was trained."""
    if not isinstance(document, dict) or document.get("kind") != "analyze" or "dataset" in document:
        return document
    model_id = document.get("model_id")
    known = isinstance(model_id, str) and ID_PATTERN.match(model_id)
    model = session.get(Model, model_id) if known else None
    return document if model is None else {**document, "dataset": {"name": model.dataset}}


def require_data(settings: Settings, spec: SubmittedSpec) -> None:
    """Raises Problem at /dataset/name when the files that a job reads are not on this server."""
    if isinstance(spec, BenchmarkSpec):
        return  # it makes its own images
    if isinstance(spec, AnalyzeSpec) and spec.model_id is not None and config.RECIPES[spec.recipe].trains:
        return  # what could train looks at a given model's weights alone
    require_dataset(settings, spec.dataset.name)


def require_model(session: OwnTransaction, spec: SubmittedSpec) -> Model | None:
    """The model that a spec names, if it names one. Raises Problem at that field when it is unknown or does not fit.

    So does a training's teacher.
    """
    if isinstance(spec, TrainSpec):
        _require_teacher(session, spec)
        return None if spec.init_from is None else _fitting_start(session, spec, spec.init_from)
    if spec.model_id is None:
        return None
    model = _model(session, spec.model_id, "/model_id")
    if isinstance(spec, BenchmarkSpec):
        if reason := config.unfit_engines(model.manifest, spec.engines):
            raise invalid([("/engines", reason)])
        return model
    _require_kind_of_numbers(model, spec)
    if isinstance(spec, AnalyzeSpec | QuantizeSpec):
        _same_images(model, spec)
    _same_task(model, spec)
    return model


def _model(session: OwnTransaction, model_id: str, field: str) -> Model:
    try:
        return models.get_model(session, model_id)
    except NotFound as error:
        raise invalid([(field, str(error))]) from None


def _fitting_start(session: OwnTransaction, spec: TrainSpec, model_id: str) -> Model:
    model = _model(session, model_id, "/init_from")
    if model.format == "adder":
        raise invalid([("/init_from", f"{model_id} {INTEGERS}")])
    try:
        arch.initialised(model.manifest, spec.network(), config.dataset(spec.dataset.name).classes)
    except ValueError as error:
        raise invalid([("/init_from", f"{model_id} {error}")]) from None
    return model


def _require_teacher(session: OwnTransaction, spec: TrainSpec) -> None:
    if spec.distill is None or spec.distill.teacher is None:
        return
    teacher = _model(session, spec.distill.teacher, "/distill/teacher")
    if teacher.format == "adder":
        raise invalid([("/distill/teacher", f"{teacher.id} {INTEGERS}")])
    info = config.dataset(spec.dataset.name)
    reason = config.unfit_teacher(teacher.manifest, info, spec.model.arch, spec.distill.features, spec.distill.kind)
    if reason is not None:
        raise invalid([("/distill/teacher", f"{teacher.id} cannot teach this training: {reason}")])


def _require_kind_of_numbers(model: Model, spec: EvaluateSpec | AnalyzeSpec | QuantizeSpec) -> None:
    """An evaluation takes integer models too; a quantisation takes what can become one, an analysis float weights."""
    reason = None
    if isinstance(spec, QuantizeSpec):
        reason = config.unfit_for_integers(model.manifest)
    elif isinstance(spec, AnalyzeSpec) and model.format == "adder":
        reason = INTEGERS
    if reason is not None:
        raise invalid([("/model_id", f"{model.id} {reason}")])


def _same_images(model: Model, spec: AnalyzeSpec | QuantizeSpec) -> None:
    info = config.dataset(spec.dataset.name)
    shape = model.manifest["network"]["input_shape"]
    if shape != list(info.input_shape):
        reason = f"has images of {list(info.input_shape)}, the model takes {shape}; it was trained on {model.dataset}"
        raise invalid([("/dataset/name", reason)])


def _same_task(model: Model, spec: EvaluateSpec | AnalyzeSpec | QuantizeSpec) -> None:
    info = config.dataset(spec.dataset.name)
    classes = len(model.manifest["classes"])
    if classes != len(info.classes):
        reason = f"has {len(info.classes)} classes, the model knows {classes}"
        raise invalid([("/dataset/name", reason)])


def counts_of(spec: SubmittedSpec, model: Model | None) -> arch.Counts:
    """Exact counts of the network that a spec trains, evaluates or makes; of an analysis the first one."""
    if isinstance(spec, AnalyzeSpec) and model is None:
        return spec.runs()[0].config.counts()
    if isinstance(spec, TrainSpec):
        return spec.counts()
    assert model is not None  # for types: `require_model` gave it
    part = model.manifest["network"]
    integers = isinstance(spec, QuantizeSpec) or model.format == "adder"
    numbers = "int8" if integers else "fp32"
    return arch.count(arch.check_manifest(model.manifest), part["method"], part["first_last"], numbers)
