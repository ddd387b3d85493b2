"""A fair queue, frozen environments, one row for each attempt, and what workers offer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SERVED = sa.text("attempt > 0")
CAUSES = (
    "succeeded", "cancelled", "paused", "handed_back", "disk_full", "store_lost", "worker_lost",
    "out_of_memory", "timed_out", "bad_data", "diverged", "code_error",
)  # fmt: skip


def upgrade() -> None:
    _jobs()
    _attempts()
    _workers()


def _jobs() -> None:
    for column in (
        sa.Column("needs_memory_mb", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("any_environment", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("share", sa.String(length=256), nullable=False, server_default=sa.text("''")),
        sa.Column("work", sa.BigInteger(), nullable=False, server_default="1"),
        sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("device", sa.String(length=16), nullable=True),
        sa.Column("exact_key", sa.String(length=120), nullable=True),
        sa.Column("threads", sa.BigInteger(), nullable=True),
    ):
        op.add_column("jobs", column)
    # What waits keeps its order: longest queued first.
    op.execute(
        "UPDATE jobs SET turn = line.place FROM (SELECT id, row_number() OVER (ORDER BY queued_at, id) AS place"
        " FROM jobs WHERE status = 'queued') AS line WHERE jobs.id = line.id"
    )
    op.drop_index("ix_jobs_claim", "jobs")
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["status", "needs_device", "needs_memory_mb", sa.literal_column("priority DESC"), "turn", "id"],
    )
    op.create_index("ix_jobs_share", "jobs", ["priority", "share", "needs_device", "turn"])
    op.create_index(
        "ix_jobs_served",
        "jobs",
        ["priority", "needs_device", "turn"],
        postgresql_where=SERVED,
        sqlite_where=SERVED,
    )
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("device", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cause IN (" + ", ".join(f"'{cause}'" for cause in CAUSES) + ")", name=op.f("ck_attempts_cause")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (cause IS NULL)", name=op.f("ck_attempts_ended")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_cause", "attempts", ["cause"])


def _workers() -> None:
    """Built anew: workers write their row again with the next heartbeat."""
    op.drop_table("workers")
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.String(length=8), nullable=False),
        sa.Column("devices", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("offers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("draining", sa.String(length=10), nullable=True),
        sa.Column("info", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("stats", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("device IN ('cpu', 'cuda')", name=op.f("ck_workers_device")),
        sa.CheckConstraint("draining IN ('finish', 'hand_over')", name=op.f("ck_workers_draining")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
