"""The body of a PATCH that changes the name, notes, labels and star of a job or a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from pydantic import ValidationError

from api.http.dependencies import Document
from api.http.documents import json_body
from api.http.problems import bad_fields, invalid
from jobs.keeping import Edit

EDIT_BODY = json_body(
    {"$ref": "#/components/schemas/Edit"},
    {
        "a name and a star": {"name": "baseline of the paper", "starred": True},
        "labels": {"labels": {"study": "eta", "draft": None}},
        "no notes": {"notes": None},
    },
)
EDIT_ERRORS = ("bad_json", "not_found", "conflict", "body_too_large", "unsupported_media_type", "invalid")


async def _change(document: Document) -> Edit:
    try:
        return Edit.model_validate(document)
    except ValidationError as error:
        raise invalid(bad_fields(error, Edit)) from None


Change = Annotated[Edit, Depends(_change)]
"""The changes that a request asks for."""
