"""Copies of an SQLite database that an upgrade makes before it changes anything: `adder.db.revision-0004.TIME`."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from addercore.files import rename
from jobs.backup import BackupError, copy_database

KEPT = 3
"""So many copies stay, the newest ones."""
PARTIAL = ".partial"


def save_before_upgrade(database: Path, revision: str) -> Path:
    """Copies a database that may be in use to a file beside it, and removes all but the newest `KEPT` copies.

    Args:
        revision: of its schema, for the name of the copy.

    Returns:
        The copy.

    Raises:
        BackupError: the database is corrupt, or the copy cannot be written; nothing was changed.
    """
    instant = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = database.with_name(f"{database.name}.revision-{revision}.{instant}")
    partial = copy.with_name(copy.name + PARTIAL)
    for left in database.parent.glob(f"{database.name}.revision-*{PARTIAL}*"):  # of an upgrade that was killed
        left.unlink(missing_ok=True)
    try:
        copy_database(database, partial)
        shutil.copymode(database, partial)
        rename(partial, copy)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(
            f"The copy that an upgrade makes first cannot be written to {copy}: {error}. Nothing was changed."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    for old in copies_of(database)[:-KEPT]:
        old.unlink(missing_ok=True)
    return copy


def copies_of(database: Path) -> list[Path]:
    """The copies that upgrades have made of a database, oldest first."""
    found = [path for path in database.parent.glob(f"{database.name}.revision-*") if PARTIAL not in path.name]
    return sorted(found, key=lambda path: path.name.split(".", 3)[-1])
