"""Models have a format, and what an integer model was derived from."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column(
        "models", sa.Column("format", sa.String(length=12), nullable=False, server_default=sa.text("'safetensors'"))
    )
    op.add_column("models", sa.Column("derived_from", sa.String(length=40), nullable=True))
