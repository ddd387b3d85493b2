"""The finished training that a job goes on from: `jobs.continued_from`."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("continued_from", sa.String(length=40), nullable=True))
