"""Datasets that trainings can name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from addercore.spec import DATASETS, DatasetInfo
from api.checks import how_to_get, missing_files
from api.dependencies import After, Limit, ServiceDep, known_query
from api.problems import documented
from api.schemas import Dataset, Page
from jobs.errors import BadCursor, NotFound
from jobs.settings import Settings

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(known_query)])


def _view(settings: Settings, info: DatasetInfo) -> Dataset:
    return Dataset(
        id=f"ds_{info.name}",
        name=info.name,
        description=info.description,
        source=info.source,
        input_shape=list(info.input_shape),
        classes=list(info.classes),
        train_size=info.train_size,
        validation_size=info.validation_size,
        available=not missing_files(settings, info),
        how_to_get=how_to_get(settings, info),
    )


@router.get("", response_model=Page[Dataset], summary="List datasets", responses=documented("bad_cursor"))
def list_datasets(service: ServiceDep, limit: Limit = 20, after: After = None) -> Page[Dataset]:
    """By name."""
    names = sorted(DATASETS)
    if after is not None:
        if after not in names:
            raise BadCursor(after)
        names = names[names.index(after) + 1 :]
    more = len(names) > limit
    names = names[:limit]
    data = [_view(service.settings, DATASETS[name]) for name in names]
    return Page(data=data, has_more=more, next=names[-1] if more else None)


@router.get("/{id}", response_model=Dataset, summary="Show a dataset", responses=documented("not_found"))
def show(service: ServiceDep, id: Annotated[str, Path(max_length=103, examples=["ds_digits"])]) -> Dataset:
    """By id (`ds_digits`) or name (`digits`)."""
    name = id.removeprefix("ds_")
    if name not in DATASETS:
        raise NotFound("dataset", id)
    return _view(service.settings, DATASETS[name])
