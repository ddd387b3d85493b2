"""Projects, keys, sign-ins, audit and accounting; every object belongs to a project, old ones to `default`."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

PROJECT = sa.String(40)
OWNED = ("jobs", "models", "datasets", "sweeps")
LIMITS = (
    "max_queued_jobs",
    "max_running_jobs",
    "max_priority",
    "max_job_seconds",
    "max_storage_bytes",
    "max_sweep_jobs",
    "max_streams",
    "requests_per_minute",
    "device_seconds_per_day",
)
SETTING = "(SELECT current_setting('adder.project', true))"
"""In a SELECT of its own PostgreSQL reads it once a statement, and not for each row."""
OF_OWNER = {
    "jobs": (
        "attempts", "job_labels", "metrics", "events", "log_chunks", "checkpoints", "artifacts", "job_words",
        "job_metrics",
    ),
    "models": ("model_labels", "model_words", "model_metrics"),
    "sweeps": ("trials",),
}  # fmt: skip
"""Tables whose rows belong to a job, a model or a sweep."""


def upgrade() -> None:
    _projects()
    _keys()
    _records()
    for table in OWNED:
        op.add_column(table, sa.Column("project_id", PROJECT, nullable=False, server_default=sa.text("'default'")))
    op.add_column("jobs", sa.Column("label_share", sa.String(length=256), nullable=True))
    op.add_column("jobs", sa.Column("label_turn", sa.BigInteger(), nullable=True))
    _key_of_two("idempotency_keys", "key")
    _key_of_two("model_aliases", "alias")
    _indices()
    _count_what_ran()
    _numbers_by_both_names()
    if op.get_bind().dialect.name == "postgresql":
        _row_security()


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("id", PROJECT, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in LIMITS),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_index("uq_projects_name", "projects", ["name"], unique=True)
    made = {"now": time.time_ns() // 1_000_000}
    row = sa.text("INSERT INTO projects (id, name, created_at) VALUES ('default', 'default', :now)")
    op.get_bind().execute(row, made)


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=40), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("replaced_by", sa.String(length=40), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'member', 'admin', 'operator')", name=op.f("ck_keys_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index("ix_keys_project_id", "keys", ["project_id", "id"])
    op.create_table(
        "sign_ins",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_sign_ins_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sign_ins")),
    )
    op.create_index(op.f("ix_sign_ins_key_id"), "sign_ins", ["key_id"])
    op.create_index(op.f("ix_sign_ins_expires_at"), "sign_ins", ["expires_at"])


def _records() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=True),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("key_name", sa.String(length=100), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_project_id", "audit", ["project_id", "id"])
    op.create_table(
        "usage",
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device", sa.String(length=8), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "day", "device", name=op.f("pk_usage")),
    )


def _key_of_two(table: str, name: str) -> None:
    """Makes the primary key `(project_id, name)` of what was `name` alone. No row refers to these tables."""
    owner = sa.Column("project_id", PROJECT, nullable=False, server_default=sa.text("'default'"))
    if op.get_bind().dialect.name == "postgresql":
        op.add_column(table, owner)
        op.drop_constraint(op.f(f"pk_{table}"), table)
        op.create_primary_key(op.f(f"pk_{table}"), table, ["project_id", name])
        return
    with op.batch_alter_table(table, recreate="always") as batch:
        batch.add_column(owner, insert_before=name)
        batch.drop_constraint(op.f(f"pk_{table}"), type_="primary")
        batch.create_primary_key(op.f(f"pk_{table}"), ["project_id", name])


def _indices() -> None:
    for name, table, columns in (
        ("ix_jobs_status_id", "jobs", ["project_id", "status", "id"]),
        ("ix_jobs_kind_id", "jobs", ["project_id", "kind", "id"]),
        ("ix_jobs_listing", "jobs", ["project_id", "id", "status", "kind", "dataset", "starred"]),
        ("ix_jobs_finished", "jobs", ["finished_at", "id", "status", "kind", "dataset", "starred", "project_id"]),
        ("ix_jobs_dataset_id", "jobs", ["project_id", "dataset", "id"]),
        ("ix_models_listing", "models", ["project_id", "id", "dataset", "starred", "job_id"]),
        ("ix_models_dataset_id", "models", ["project_id", "dataset", "id"]),
    ):
        op.drop_index(name, table)
        op.create_index(name, table, columns)
    for table in ("jobs", "models"):
        op.drop_index(f"ix_{table}_starred", table)
        op.create_index(
            f"ix_{table}_starred",
            table,
            ["project_id", "starred", "id"],
            postgresql_where=sa.text("starred"),
            sqlite_where=sa.text("starred = 1"),
        )
    for name, columns, condition in (
        (
            "ix_jobs_label_turn",
            ["project_id", "priority", "label_turn", "id"],
            "status = 'queued' AND label_turn IS NOT NULL",
        ),
        ("ix_jobs_label_share", ["project_id", "label_share", "label_turn"], "label_turn IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "jobs", columns, postgresql_where=where, sqlite_where=where)
    op.drop_index("uq_datasets_name_version", "datasets")
    op.create_index("uq_datasets_name_version", "datasets", ["project_id", "name", "version"], unique=True)
    op.create_index("ix_sweeps_project_id", "sweeps", ["project_id", "id"])
    op.drop_index("uq_sweeps_idempotency_key", "sweeps")
    op.create_index("uq_sweeps_idempotency_key", "sweeps", ["project_id", "idempotency_key"], unique=True)


def _count_what_ran() -> None:
    """Enters the attempts that have ended into the accounts, each on the day of its end."""
    days = "ended_at / 86400000"
    kind = "CASE WHEN device LIKE 'cuda%' THEN 'cuda' ELSE 'cpu' END"
    op.execute(
        f"INSERT INTO usage (project_id, day, device, device_ms, attempts) SELECT 'default', {days}, {kind},"
        " sum(CASE WHEN ended_at > started_at THEN ended_at - started_at ELSE 0 END), count(*)"
        f" FROM attempts WHERE ended_at IS NOT NULL GROUP BY {days}, {kind}"
    )


def _numbers_by_both_names() -> None:
    """Results keep `accuracy` (an evaluation's) as `val/accuracy` (a training's) too, and the other way round."""
    for table, owner in (("job_metrics", "job_id"), ("model_metrics", "model_id")):
        for name, other in (("accuracy", "val/accuracy"), ("loss", "val/loss"), ("top5", "val/top5")):
            for there, missing in ((name, other), (other, name)):
                op.execute(
                    f"INSERT INTO {table} ({owner}, name, value) SELECT {owner}, '{missing}', value FROM {table} AS one"
                    f" WHERE name = '{there}' AND NOT EXISTS (SELECT 1 FROM {table} AS two"
                    f" WHERE two.{owner} = one.{owner} AND two.name = '{missing}')"
                )


def _row_security() -> None:
    own = f"{SETTING} IN ('*', project_id)"
    for table in (*OWNED, "idempotency_keys", "model_aliases", "keys", "sign_ins", "audit", "usage"):
        _secure(table, own)
    _secure("projects", f"{SETTING} IN ('*', id)")
    for owner, tables in OF_OWNER.items():
        for table in tables:
            mine = f"SELECT 1 FROM {owner} WHERE {owner}.id = {table}.{owner[:-1]}_id"
            _secure(table, f"{SETTING} = '*' OR EXISTS ({mine})")


def _secure(table: str, condition: str) -> None:
    """Also for the owner of the table: `FORCE`. Only superusers and roles with BYPASSRLS pass by."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_project ON {table} USING ({condition}) WITH CHECK ({condition})")
