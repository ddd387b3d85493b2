"""The tables of access: projects with their limits, keys, sign-ins of browsers, audit, accounting."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, synonym

from jobs.access.roles import Role
from jobs.access.scope import DEFAULT_ID, Project
from jobs.table_base import Base, one_of

PROJECT_ID: Final = String(40)


def project_of_transaction(context: Any) -> str:
    """The project of the transaction. A row that the service itself writes has to name its project."""
    scope = context.execution_options.get("adder_scope")
    if not isinstance(scope, Project):
        raise TypeError("a row that belongs to a project was written by the service without naming the project")
    return scope.id


def owner_column(*, primary_key: bool = False) -> Mapped[str]:
    """The project to which a row belongs; filled in from the transaction's scope.

    The database's own default is for rows from before there were projects.
    """
    return mapped_column(
        PROJECT_ID, default=project_of_transaction, server_default=text(f"'{DEFAULT_ID}'"), primary_key=primary_key
    )


class ProjectRow(Base):
    """A project and its limits; NULL: none."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(PROJECT_ID, primary_key=True)
    project_id: Mapped[str] = synonym("id")
    name: Mapped[str] = mapped_column(String(64))
    max_queued_jobs: Mapped[int | None]
    max_running_jobs: Mapped[int | None]
    max_priority: Mapped[int | None]
    max_job_seconds: Mapped[int | None]
    max_storage_bytes: Mapped[int | None]
    max_sweep_jobs: Mapped[int | None]
    max_streams: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    device_seconds_per_day: Mapped[int | None]
    created_at: Mapped[int]

    __table_args__ = (Index("uq_projects_name", "name", unique=True),)


class KeyRow(Base):
    """An API key. Of its secret only the hash is stored."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(10))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int]
    created_by: Mapped[str | None] = mapped_column(String(40))
    """Id of the key that made it; NULL for an operator's key from the settings."""
    expires_at: Mapped[int | None]
    revoked_at: Mapped[int | None]
    last_used_at: Mapped[int | None]
    """Kept to the minute."""
    replaced_by: Mapped[str | None] = mapped_column(String(40))
    """The key that rotation made of it."""

    __table_args__ = (
        CheckConstraint(one_of("role", Role), name="role"),
        Index("ix_keys_project_id", "project_id", "id"),
    )


class SignIn(Base):
    """A browser that signed in with a key. It ends with that key."""

    __tablename__ = "sign_ins"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)


class AuditEntry(Base):
    """Who did what to which object; written in the transaction of the deed."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction)
    time: Mapped[int]
    action: Mapped[str] = mapped_column(String(60))
    """The operation's id in the OpenAPI document."""
    object_id: Mapped[str | None] = mapped_column(String(255))
    key_id: Mapped[str | None] = mapped_column(String(40))
    """NULL: nobody signed in, as authentication is off."""
    key_name: Mapped[str | None] = mapped_column(String(100))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(40))
    detail: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_audit_project_id", "project_id", "id"),)


class Usage(Base):
    """Time that ended attempts of a project took on one kind of device on one day (UTC)."""

    __tablename__ = "usage"

    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction, primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Days since 1970-01-01."""
    device: Mapped[str] = mapped_column(String(8), primary_key=True)
    device_ms: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    """Attempts that ended on that day."""
