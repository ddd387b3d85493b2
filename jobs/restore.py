"""`python -m jobs.restore SRC`: makes a data folder from a backup, with which `adder up` goes on.

It copies everything beside the data folder, compares checksums and migrates the database. Only then the copy gets the
name of the data folder. Jobs that ran when the backup was made are queued again and resume from their last checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from addercore.files import rename
from jobs.access.scope import SERVICE, ServiceTransaction
from jobs.backup import (
    DATABASE,
    FORMAT,
    MANIFEST,
    Backup,
    BackupError,
    copy_file,
    embedded,
    leave_on_signals,
    sync_tree,
)
from jobs.database import Database
from jobs.errors import DatabaseTooNew, JobsError
from jobs.files import remove_tree
from jobs.migrate import migrate
from jobs.repository import attempts
from jobs.settings import Settings
from jobs.states import OWNED, Status
from jobs.tables import Job, Worker

NOTE = "Restored from a backup"


def restore(settings: Settings, source: Path, *, force: bool = False) -> Path | None:
    """Makes the data folder from the backup `source`.

    Args:
        force: a data folder that is not empty is moved aside; its new place is returned.

    Raises:
        BackupError: the backup is damaged or newer than this version, or the data folder is in use or not empty.
    """
    embedded(settings)
    data = settings.data_dir.absolute()
    made = read_manifest(source)
    if not force and data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise BackupError(f"{data} is not empty. Name another folder with --data, or move it aside with --force.")
    fresh = data.with_name(f"{data.name}.restoring-{os.getpid()}")
    try:
        with _not_served(data):
            fresh.mkdir(parents=True, mode=0o700)
            _copy_verified(made, source, fresh)
            _revive(fresh / DATABASE, made)
            sync_tree(fresh)
            aside = _move_aside(data)
            rename(fresh, data)
    except OSError as error:
        raise BackupError(f"{source} cannot be restored into {data}: {error.strerror or error}.") from error
    finally:
        remove_tree(fresh)
    return aside


def read_manifest(source: Path) -> Backup:
    """Reads a backup's manifest. Raises BackupError if the folder is no complete backup of a known version."""
    try:
        document = json.loads((source / MANIFEST).read_text())
        number = document.pop("format")
        made = Backup(**document) if number == FORMAT else None
    except FileNotFoundError:
        raise BackupError(f"{source} is no backup: it has no {MANIFEST}.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{source / MANIFEST} cannot be read: {error}. Use another backup.") from None
    if made is None:
        raise BackupError(f"{source} has format {number}, this version reads {FORMAT}. Install the one that wrote it.")
    return made


def _copy_verified(made: Backup, source: Path, target: Path) -> None:
    """Copies the files of the manifest. Raises BackupError with the first file whose bytes differ."""
    if DATABASE not in made.files:
        raise BackupError(f"{source / MANIFEST} lists no {DATABASE}. Use another backup.")
    for name, entry in made.files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise BackupError(f"{source / MANIFEST} names {name!r}, which lies outside. Use another backup.")
        try:
            found: dict[str, Any] | None = copy_file(source / place, target / place)
        except FileNotFoundError:
            found = None
        if found != entry:
            how = "is missing" if found is None else "is corrupt: its checksum is not the manifest's"
            raise BackupError(f"{source / place} {how}. Nothing was restored. Use another backup.")


def _revive(path: Path, made: Backup) -> None:
    """Migrates the database to this version's revision and gives back the jobs of workers that no longer exist."""
    database = Database(f"sqlite:///{path}")
    try:
        migrate(database)
        with database.write(SERVICE) as session:
            for job in session.execute(select(Job).where(Job.status.in_(OWNED)).order_by(Job.id)).scalars():
                _free(session, job)
            session.execute(delete(Worker))
    except DatabaseTooNew:
        raise BackupError(
            f"The backup is at revision {made.revision}, which this version does not know: Adderworks "
            f"{made.adderworks} made it. Install that version or a later one."
        ) from None
    finally:
        database.dispose()


def _free(session: ServiceTransaction, job: Job) -> None:
    """Gives a job back. It is no fault and does not count against `limits.max_attempts`."""
    if job.status == Status.CANCELLING:
        attempts.finish(session, job, Status.CANCELLED, f"{NOTE}; the cancel that was asked for is done.")
    elif job.status == Status.PAUSING:
        attempts.hand_back(session, job, Status.PAUSED, f"{NOTE}; paused at its last checkpoint.")
    else:
        attempts.hand_back(session, job, Status.QUEUED, f"{NOTE}; queued to go on from its last checkpoint.")


@contextmanager
def _not_served(data: Path) -> Iterator[None]:
    """Holds the lock that `adder up` takes on a data folder. Raises BackupError if `adder up` is running."""
    if not data.exists() or not any(data.iterdir()):
        yield
        return
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BackupError(f"Adderworks is running on {data}. Stop it first.") from None
    finally:
        os.close(handle)


def _move_aside(data: Path) -> Path | None:
    if not data.exists():
        return None
    if not any(data.iterdir()):
        data.rmdir()
        return None
    aside = data.with_name(f"{data.name}.before-{time.strftime('%Y%m%dT%H%M%S')}")
    data.rename(aside)
    return aside


def main() -> int:
    parser = argparse.ArgumentParser(prog="adder restore", description="Makes ADDER_DATA_DIR from a backup.")
    parser.add_argument("source", type=Path, help="the backup's folder")
    parser.add_argument("--force", action="store_true", help="move a data folder that is not empty aside")
    arguments = parser.parse_args()
    leave_on_signals()
    settings = Settings()
    try:
        aside = restore(settings, arguments.source, force=arguments.force)
    except (JobsError, SQLAlchemyError, ValueError) as error:
        print(f"adder restore: {error}", file=sys.stderr)
        return 2
    print(f"{settings.data_dir}: restored from {arguments.source}" + (f"; the old one is {aside}" if aside else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
