"""The environment that a job keeps to: `jobs.exact_key` becomes `jobs.environment_key`."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # By hand: on SQLite Alembic would copy the whole table.
    op.execute("ALTER TABLE jobs RENAME COLUMN exact_key TO environment_key")
