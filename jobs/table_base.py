"""What the modules of tables share: the metadata with its names of constraints, and types."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase

from jobs.documents import JsonArray

# SQLite gives rowid keys to INTEGER columns only.
BigKey = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JsonArray(none_as_null=True),
        int: BigInteger,
        float: Double,
    }


def job_fk() -> ForeignKey:
    return ForeignKey("jobs.id", ondelete="CASCADE")


def one_of(column: str, values: Iterable[StrEnum]) -> str:
    """An SQL condition with the values in the order of their enum."""
    chosen = set(values)
    ordered = [value for value in type(next(iter(chosen))) if value in chosen]
    return f"{column} IN (" + ", ".join(f"'{value}'" for value in ordered) + ")"


def model_fk() -> ForeignKey:
    return ForeignKey("models.id", ondelete="CASCADE")
