"""What the API answers, as pydantic models: they shape the responses and describe them in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from jobs.clock import to_datetime
from jobs.spec import KINDS

T = TypeVar("T")


def rfc3339(ms: int) -> str:
    """UTC with milliseconds: `2025-11-21T03:00:00.123Z`."""
    moment = to_datetime(ms)
    assert moment is not None  # for types: `ms` is no None
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Time = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-11-21T03:00:00.123Z"]}),
]
"""Milliseconds since 1970 inside, RFC 3339 outside."""

SpecDocument = Annotated[
    dict[str, Any],
    WithJsonSchema({"oneOf": [{"$ref": f"#/components/schemas/{model.__name__}"} for model in KINDS.values()]}),
]
"""A stored spec goes out as it is: one of an older version need not fit today's model."""


class Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Page(Answer, Generic[T]):
    """A part of a list."""

    data: list[T]
    has_more: bool
    next: str | None
    """Pass it as `after` for the following part; null at the end."""
