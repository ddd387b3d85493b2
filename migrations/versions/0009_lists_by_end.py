"""Lists by end have an index that begins with the project, as every list has; housekeeping has one by end alone."""

from alembic import op

revision = "0009"
down_revision = "0008"

FILTERS = ["status", "kind", "dataset", "starred"]


def upgrade() -> None:
    op.drop_index("ix_jobs_finished", table_name="jobs")
    op.create_index("ix_jobs_finished", "jobs", ["project_id", "finished_at", "id", *FILTERS])
    op.create_index("ix_jobs_ended", "jobs", ["finished_at", "id"])
