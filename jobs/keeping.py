"""What users may change of a job or a model that exists: its name, notes, labels and star."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from addercore.config.fields import Form, Section
from jobs.spec import LabelKey, LabelValue

MOST_LABELS: Final = 32
"""Labels of one job or model."""
MOST_ALIASES: Final = 32
"""Aliases of one model."""
ALIAS: Final = r"^[a-z][a-z0-9._-]{0,63}$"
ALIAS_FORM: Final = "an alias: a lower-case letter, then at most 63 lower-case letters, digits, points, _ and -"


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


Name = Annotated[
    str,
    Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Form("a name of 1 to 100 characters on one line"),
    BeforeValidator(_stripped),
]
Notes = Annotated[
    str,
    Field(max_length=4000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"),
    Form("a text of at most 4000 characters, without control characters but tabs and ends of lines"),
]


class Edit(Section):
    """Changes of a job or a model, as a merge patch (RFC 7396): what is not named stays, null takes away."""

    name: Name | None = None
    """A title, on one line."""
    notes: Notes | None = None
    """Anything that is worth remembering."""
    labels: dict[LabelKey, LabelValue | None] | None = Field(
        None, max_length=2 * MOST_LABELS, json_schema_extra={"x-values": "an object of texts or null"}
    )
    """Labels to set by their names; null takes a label away, and null in place of the object takes all."""
    starred: bool = False
    """Whether it has a star."""
