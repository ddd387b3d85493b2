"""The tables by which jobs and models are found again: labels and aliases of models, words, final metrics.

Words and final metrics repeat, in a form that an index serves, what the rows of jobs and models say.
"""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.access.tables import owner_column
from jobs.table_base import Base, job_fk, model_fk

MAX_WORD = 40
"""Characters of a word that are stored; a search compares no more of its own words."""
MAX_METRIC = 100
"""Characters of a metric's name."""
Word = String(MAX_WORD).with_variant(String(MAX_WORD, collation="C"), "postgresql")
"""Compared byte by byte on both databases, so that the words with one beginning lie side by side in an index."""


class JobWord(Base):
    """A word of a job's name, labels, network or dataset, in lower case."""

    __tablename__ = "job_words"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    word: Mapped[str] = mapped_column(Word, primary_key=True)

    __table_args__ = (Index("ix_job_words_word", "word", "job_id"), {"sqlite_with_rowid": False})


class JobMetric(Base):
    """A number of the result of a job that has succeeded."""

    __tablename__ = "job_metrics"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_METRIC), primary_key=True)
    value: Mapped[float]

    __table_args__ = (Index("ix_job_metrics_name_value", "name", "value", "job_id"), {"sqlite_with_rowid": False})


class ModelLabel(Base):
    __tablename__ = "model_labels"

    model_id: Mapped[str] = mapped_column(model_fk(), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))

    __table_args__ = (Index("ix_model_labels_key_value", "key", "value", "model_id"),)


class ModelWord(Base):
    """As `JobWord`, of a model."""

    __tablename__ = "model_words"

    model_id: Mapped[str] = mapped_column(model_fk(), primary_key=True)
    word: Mapped[str] = mapped_column(Word, primary_key=True)

    __table_args__ = (Index("ix_model_words_word", "word", "model_id"), {"sqlite_with_rowid": False})


class ModelMetric(Base):
    """A number of a model's metrics."""

    __tablename__ = "model_metrics"

    model_id: Mapped[str] = mapped_column(model_fk(), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_METRIC), primary_key=True)
    value: Mapped[float]

    __table_args__ = (Index("ix_model_metrics_name_value", "name", "value", "model_id"), {"sqlite_with_rowid": False})


class ModelAlias(Base):
    """A name that stands wherever the id of a model may."""

    __tablename__ = "model_aliases"

    project_id: Mapped[str] = owner_column(primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(model_fk(), index=True)
