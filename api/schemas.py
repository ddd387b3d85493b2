"""Pydantic models that all rooms share. They shape the answers and describe them in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from jobs.clock import rfc3339 as rfc3339
from jobs.spec import KINDS

T = TypeVar("T")


Time = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-11-21T03:00:00.123Z"]}),
]
"""Milliseconds since 1970 in Python, RFC 3339 in JSON."""

SpecDocument = Annotated[
    dict[str, Any],
    WithJsonSchema({"oneOf": [{"$ref": f"#/components/schemas/{model.__name__}"} for model in KINDS.values()]}),
]
"""A stored spec, answered as it is: one of an older version need not fit the models of today."""


class Answer(BaseModel):
    """Base of all answers: the docstrings of fields become their descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Page(Answer, Generic[T]):
    """One page of a list.

    Its fields are described by `Field`: of a generic class, pydantic looks for the docstrings in every frame of the
    stack, for each kind of row.
    """

    model_config = ConfigDict(use_attribute_docstrings=False)

    data: list[T] = Field(description="The rows of this page.")
    has_more: bool = Field(description="Whether another page follows.")
    next: str | None = Field(description="Pass it as `after` to get the next page; null on the last page.")
    unreadable: list[str] = Field(
        default_factory=list,
        exclude_if=lambda ids: not ids,
        description="Ids of rows that belong on this page and cannot be read. The key is there where there are any.",
    )

    @classmethod
    def of(cls, data: list[T], next: str | None = None, unreadable: Sequence[str] = ()) -> Page[T]:
        """The page with these rows.

        Args:
            data: its rows.
            next: the cursor of the page after it, None where there is none.
            unreadable: ids of rows that are left out.
        """
        return cls(data=data, has_more=next is not None, next=next, unreadable=list(unreadable))
