"""Keys for servers that want them, by way of the database."""

from __future__ import annotations

from jobs.access import keys
from jobs.access.roles import Role
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.settings import Settings


def new_key(settings: Settings, role: Role = Role.OPERATOR) -> str:
    """A key of the project `default`."""
    database = Database(settings.resolved_database_url)
    try:
        with database.write(DEFAULT) as session:
            return keys.create(session, f"the test's {role}", role, None, by=None)[1]
    finally:
        database.dispose()
