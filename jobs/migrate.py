"""`python -m jobs.migrate`: upgrades the database to this version's revision."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from jobs.access import keys
from jobs.access.scope import SERVICE
from jobs.backup import leave_on_signals
from jobs.database import Database
from jobs.errors import DatabaseNeedsBackup, DatabaseNotMigrated, DatabaseTooNew, JobsError
from jobs.settings import Settings
from jobs.upgrade_copies import save_before_upgrade


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    return config


def _known(script: ScriptDirectory, revision: str) -> bool:
    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False


def current_revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database, save: Callable[[str], None] | None = None) -> str | None:
    """Upgrades to the newest revision.

    Args:
        save: is called with the revision of an older database before anything changes and while nobody else can write;
            what it raises leaves the database as it was.

    Returns:
        The revision that was upgraded; None where there was nothing to upgrade, or nothing in the database.

    Raises:
        DatabaseTooNew: the database is newer than the code.
    """
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    # The write engine: on SQLite two migrations at once must queue up at BEGIN.
    with database.engine.execution_options(adder_write=True).begin() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found == script.get_current_head():
            return None
        if found is not None and not _known(script, found):
            raise DatabaseTooNew(found)
        if found is not None and save is not None:
            save(found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return found


GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}",
    "REVOKE UPDATE, DELETE ON audit FROM {role}",
)


def grant(database: Database, role: str) -> None:
    """Lets a role of PostgreSQL do what API and workers do. It owns nothing, so row security holds for it.

    Raises:
        ValueError: the database is SQLite, which has no roles.
    """
    if database.sqlite:
        raise ValueError("SQLite has no roles; --grant is for PostgreSQL")
    with database.engine.begin() as connection:
        quoted = connection.dialect.identifier_preparer.quote(role)
        for statement in GRANTS:
            connection.exec_driver_sql(statement.format(role=quoted))


def enter_operator_key(database: Database, settings: Settings, made: Path | None = None) -> None:
    """Makes the operator's key of the settings valid, where they have one.

    Args:
        database: of this version.
        settings: of the server.
        made: a file for a key that is made where authentication is on and no operator's key is valid. The file is new
            and only its owner may read it.

    Raises:
        BadKey: what the settings have is no key.
    """
    text = settings.first_operator_key
    with database.write(SERVICE) as session:
        if text:
            keys.enter_operator_key(session, text)
        elif made is not None and settings.needs_keys and not keys.has_operator(session):
            text = keys.new_text()
            keys.enter_operator_key(session, text)
            with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(text + "\n")


def require_current(database: Database) -> None:
    """Raises unless the database is exactly at this version's revision: nothing may run on another schema."""
    script = ScriptDirectory.from_config(alembic_config())
    head, found = script.get_current_head(), current_revision(database)
    if found == head:
        return
    if found is not None and not _known(script, found):
        raise DatabaseTooNew(found)
    raise DatabaseNotMigrated(found, head or "none")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.migrate", description=__doc__)
    parser.add_argument(
        "--only-with-backup", action="store_true", help="refuse to upgrade a database that this program cannot copy"
    )
    parser.add_argument("--grant", metavar="ROLE", help="let this role of PostgreSQL do what API and workers do")
    parser.add_argument(
        "--make-operator-key", metavar="FILE", type=Path, help="where no operator's key is valid, make one and write it"
    )
    arguments = parser.parse_args()
    leave_on_signals()
    try:
        settings = Settings()
        database = Database(settings.resolved_database_url)
        said = upgrade(database, arguments.only_with_backup)
        if arguments.grant:
            grant(database, arguments.grant)
        enter_operator_key(database, settings, arguments.make_operator_key)
    except (JobsError, SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
        print(f"adder: migration failed: {error}", file=sys.stderr)
        return 2
    if said:
        print(said)
    return 0


def upgrade(database: Database, only_with_backup: bool = False) -> str | None:
    """Upgrades a database after a copy of its own, where it is SQLite's.

    Args:
        only_with_backup: refuse another database instead of upgrading it without a copy.

    Returns:
        What was done, for the operator; None where there was nothing to do.

    Raises:
        BackupError: the copy could not be made; nothing was changed.
        DatabaseNeedsBackup: it is an older database on PostgreSQL, and `only_with_backup` is set.
        DatabaseTooNew: the database is newer than the code.
    """
    file = database.engine.url.database if database.sqlite else None
    copies: list[Path] = []

    def save(revision: str) -> None:
        if file:
            copies.append(save_before_upgrade(Path(file), revision))
        elif only_with_backup:
            raise DatabaseNeedsBackup(revision)

    found = migrate(database, save)
    if found is None:
        return None
    copy = f"its copy from before is {copies[0]}" if copies else "no copy was made"
    return f"the database was at revision {found} and is now at {current_revision(database)}; {copy}"


if __name__ == "__main__":
    sys.exit(main())
