"""`python -m jobs.migrate`: upgrades the database to this version's revision."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from jobs.database import Database
from jobs.errors import DatabaseNotMigrated, DatabaseTooNew, JobsError
from jobs.settings import Settings


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


def migrate(database: Database) -> None:
    """Upgrades to the newest revision. Raises DatabaseTooNew if the database is newer than the code."""
    config = alembic_config()
    found = current_revision(database)
    if found is not None and not _known(ScriptDirectory.from_config(config), found):
        raise DatabaseTooNew(found)
    # The write engine: on SQLite two migrations at once must queue up at BEGIN.
    with database.engine.execution_options(adder_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


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
    argparse.ArgumentParser(prog="python -m jobs.migrate", description=__doc__).parse_args()
    try:
        migrate(Database(Settings().resolved_database_url))
    except (JobsError, SQLAlchemyError, ValueError) as error:
        print(f"adder: migration failed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
