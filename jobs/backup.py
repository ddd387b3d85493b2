"""`python -m jobs.backup DEST`: a copy of the embedded stores, also while the service runs.

It copies the database by SQLite's own backup, as of one instant, and then every blob that this copy names. Nothing is
removed from the store from before the database is read until the end, so that every blob is there whatever is deleted
meanwhile. The backup is a folder laid out like the data folder, with a manifest of checksums: any tool can read, check
and copy it. It gets its name once it is complete.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from addercore.files import rename, sync_folder, write_atomic
from jobs.errors import JobsError
from jobs.files import CHUNK, pieces, remove_tree
from jobs.settings import Settings
from jobs.store.folder import FolderStore

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "adder.db"
BLOBS = {
    "artifacts": "SELECT sha256 FROM artifacts",
    "checkpoints": "SELECT sha256 FROM checkpoints",
    "models": "SELECT sha256 FROM models",
    "datasets": "SELECT sha256 FROM datasets WHERE sha256 IS NOT NULL "
    "UNION SELECT source_sha256 FROM datasets WHERE status = 'validating'",
}
"""Queries for the names of stored files, by table; a database of an earlier revision has not all of them."""


class BackupError(JobsError):
    """A backup cannot be made or used; the text says why and what to do."""


@dataclass
class Backup:
    """The content of `manifest.json`."""

    made_at: str
    adderworks: str
    revision: str
    """Revision of the database's schema."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`{sha256, bytes}` of each file by its path in the backup, without the manifest."""
    damaged: list[str] = field(default_factory=list)
    """Stored files that were missing or corrupt in the service itself."""

    @property
    def bytes(self) -> int:
        return sum(int(entry["bytes"]) for entry in self.files.values())

    def document(self) -> dict[str, Any]:
        return {"format": FORMAT, **vars(self)}


def embedded(settings: Settings) -> None:
    """Raises BackupError unless all stores are the embedded ones, in the data folder."""
    url = make_url(settings.resolved_database_url)
    inside = settings.data_dir.resolve() / DATABASE
    if url.get_backend_name() != "sqlite" or Path(url.database or "").resolve() != inside:
        raise BackupError(
            f"ADDER_DATABASE_URL names another database than the embedded one, {settings.data_dir / DATABASE}. Use its "
            "own tools (PostgreSQL: pg_dump) and copy the artifacts after that; docs/backup.md says how."
        )
    if settings.artifacts_url:
        raise BackupError(
            f"The artifacts lie in {settings.artifacts_url}, not in the data folder. Copy the database first and the "
            "bucket after that; docs/backup.md says how."
        )


def backup(settings: Settings, target: Path) -> Backup:
    """Makes the folder `target`, which must not exist. Raises BackupError."""
    embedded(settings)
    database = settings.data_dir.resolve() / DATABASE
    if not database.exists():
        raise BackupError(f"There is no database in {settings.data_dir}. Name the service's data folder with --data.")
    if target.exists():
        raise BackupError(f"{target} exists already. Choose another name.")
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True, mode=0o700)
        with FolderStore(settings.artifacts_dir, settings.store_grace_seconds).holding():
            made = Backup(_now(), version("adderworks"), copy_database(database, partial / DATABASE))
            made.files[DATABASE] = _entry(partial / DATABASE)
            for sha256 in _blobs(partial / DATABASE):
                _copy_blob(settings.artifacts_dir, partial, sha256, made)
        for source, name in _datasets(settings.datasets_dir):
            made.files[name] = copy_file(source, partial / name)
        write_atomic(partial / MANIFEST, json.dumps(made.document(), indent=1).encode())
        sync_tree(partial)
        rename(partial.absolute(), target.absolute())
    except OSError as error:
        raise BackupError(f"The backup cannot be written to {target}: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        raise BackupError(f"The database {database} cannot be copied: {error}.") from error
    finally:
        remove_tree(partial)
    return made


def copy_file(source: Path, target: Path) -> dict[str, Any]:
    """Copies a file and syncs it. Returns its `{sha256, bytes}` as read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as stream, target.open("xb", buffering=CHUNK) as sink:
        for chunk in pieces(stream):
            digest.update(chunk)
            size += len(chunk)
            sink.write(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}


def sync_tree(folder: Path) -> None:
    """Makes the names in a folder and below it survive a power cut."""
    for root, _, _ in os.walk(folder):
        sync_folder(Path(root))


def copy_database(source: Path, target: Path) -> str:
    """A consistent copy of a database that is in use, in one file. Returns the revision of its schema."""
    with closing(sqlite3.connect(source, timeout=30)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)  # in one step: in several steps it would start again with every write of the service
        copy.execute("PRAGMA journal_mode = DELETE")
        if (found := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise BackupError(f"The database {source} is corrupt: {found}. Restore an earlier backup.")
        row = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0])


def _blobs(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as copy:
        tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        query = " UNION ".join(query for table, query in BLOBS.items() if table in tables)
        return [row[0] for row in copy.execute(f"{query} ORDER BY 1")]


def _copy_blob(artifacts: Path, target: Path, sha256: str, made: Backup) -> None:
    place = f"artifacts/{sha256[:2]}/{sha256}"
    try:
        entry = copy_file(artifacts / sha256[:2] / sha256, target / place)
    except FileNotFoundError:
        made.damaged.append(sha256)
        return
    if entry["sha256"] == sha256:
        made.files[place] = entry
    else:
        (target / place).unlink()
        made.damaged.append(sha256)


def _datasets(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files and their paths in the backup; follows symbolic links."""
    seen: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if (real := Path(root).resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file():
                yield path, f"datasets/{path.relative_to(folder).as_posix()}"


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def leave_on_signals() -> None:
    """Makes SIGTERM and Ctrl-C raise an exception, so that the program removes what is half done."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: sys.exit(128 + got))


def main() -> int:
    parser = argparse.ArgumentParser(prog="adder backup", description="Copies the embedded stores of ADDER_DATA_DIR.")
    parser.add_argument("target", type=Path, help="the folder to make")
    arguments = parser.parse_args()
    leave_on_signals()
    try:
        made = backup(Settings(), arguments.target)
    except (JobsError, SQLAlchemyError, ValueError) as error:
        print(f"adder backup: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {len(made.files)} files, {made.bytes} bytes, revision {made.revision}")
    for sha256 in made.damaged:
        print(f"adder backup: the stored file {sha256} is missing or corrupt in the service itself", file=sys.stderr)
    return 1 if made.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
