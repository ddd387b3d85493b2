"""Names, notes, stars, labels and aliases, and the indices by which jobs and models are found, sorted and resolved."""

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

from jobs.words import numbers_of, words_of

revision = "0006"
down_revision = "0005"

ROWS = 2000  # that are read and written at a time
DATASET = re.compile(r"[\w.@-]{1,100}")
WORD = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    _columns()
    for owner in ("job", "model"):
        _tables(owner)
    _model_tables()
    _fill_jobs()
    _fill_models()
    _indices()


def _columns() -> None:
    for table in ("jobs", "models"):
        op.add_column(table, sa.Column("name", sa.String(length=100), nullable=True))
        op.add_column(table, sa.Column("notes", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("starred", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("dataset", sa.String(length=100), nullable=True))
    for table in ("jobs", "models", "datasets", "sweeps"):
        op.add_column(table, sa.Column("tail", sa.String(length=6), nullable=False, server_default=sa.text("''")))


def _tables(owner: str) -> None:
    id_ = f"{owner}_id"
    for table, columns in (
        (f"{owner}_words", [sa.Column("word", WORD, nullable=False)]),
        (
            f"{owner}_metrics",
            [sa.Column("name", sa.String(length=100), nullable=False), sa.Column("value", sa.Double(), nullable=False)],
        ),
    ):
        op.create_table(
            table,
            sa.Column(id_, sa.String(length=40), nullable=False),
            *columns,
            sa.ForeignKeyConstraint([id_], [f"{owner}s.id"], name=op.f(f"fk_{table}_{id_}"), ondelete="CASCADE"),
            sa.PrimaryKeyConstraint(id_, columns[0].name, name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )


def _model_tables() -> None:
    op.create_table(
        "model_labels",
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_labels_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "key", name=op.f("pk_model_labels")),
    )
    op.create_index("ix_model_labels_key_value", "model_labels", ["key", "value", "model_id"])
    op.create_table(
        "model_aliases",
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_aliases_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_model_aliases")),
    )
    op.create_index(op.f("ix_model_aliases_model_id"), "model_aliases", ["model_id"])


def _fill_jobs() -> None:
    """Row by row in Python: a document that an older version stored may be one that the database cannot read."""
    connection = op.get_bind()
    names = _pairs("SELECT id, name FROM datasets")
    archs = _pairs("SELECT id, arch FROM models")
    batch = sa.text(
        "SELECT id, CAST(spec AS TEXT), CASE WHEN status = 'succeeded' THEN CAST(result AS TEXT) END"
        " FROM jobs WHERE id > :last ORDER BY id LIMIT :rows"
    )
    labels = sa.text("SELECT job_id, key, value FROM job_labels WHERE job_id > :first AND job_id <= :last")
    last = ""
    while found := connection.execute(batch, {"last": last, "rows": ROWS}).all():
        first, last = last, found[-1][0]
        labelled: dict[str, list[str]] = {}
        for id_, key, value in connection.execute(labels, {"first": first, "last": last}):
            labelled.setdefault(id_, []).extend((key, value))
        datasets, words, metrics = [], [], []
        for id_, spec, result in found:
            document = _parsed(spec)
            name = _part(document, "dataset").get("name")
            datasets.append((id_, name if isinstance(name, str) and DATASET.fullmatch(name) else None))
            arch = _part(document, "model").get("arch") or archs.get(str(document.get("model_id")))
            texts = (arch, document.get("recipe"), names.get(str(name), name), *labelled.get(id_, ()))
            words += [(id_, word) for word in words_of(texts)]
            metrics += [(id_, metric, value) for metric, value in numbers_of(_parsed(result)).items()]
        _update(datasets)
        _insert("job_words", ("job_id", "word"), words)
        _insert("job_metrics", ("job_id", "name", "value"), metrics)


def _fill_models() -> None:
    connection = op.get_bind()
    names = _pairs("SELECT id, name FROM datasets")
    batch = sa.text(
        "SELECT id, arch, dataset, CAST(metrics AS TEXT) FROM models WHERE id > :last ORDER BY id LIMIT :rows"
    )
    last = ""
    while found := connection.execute(batch, {"last": last, "rows": ROWS}).all():
        last = found[-1][0]
        words, metrics = [], []
        for id_, arch, dataset, document in found:
            words += [(id_, word) for word in words_of((arch, names.get(dataset, dataset)))]
            metrics += [(id_, metric, value) for metric, value in numbers_of(_parsed(document)).items()]
        _insert("model_words", ("model_id", "word"), words)
        _insert("model_metrics", ("model_id", "name", "value"), metrics)
    for table in ("models", "datasets", "sweeps"):
        op.execute(f"UPDATE {table} SET tail = substr(id, length(id) - 5)")


def _pairs(query: str) -> dict[str, str]:
    return {row[0]: row[1] for row in op.get_bind().execute(sa.text(query))}


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


TYPES = {"value": "double precision[]"}


def _insert(table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """On PostgreSQL with an array for each column: one statement a batch."""
    if not rows:
        return
    connection, listed = op.get_bind(), ", ".join(columns)
    if connection.dialect.name == "postgresql":
        arrays = ", ".join(f"CAST(:{column} AS {TYPES.get(column, 'text[]')})" for column in columns)
        values = {column: [row[at] for row in rows] for at, column in enumerate(columns)}
        connection.execute(sa.text(f"INSERT INTO {table} ({listed}) SELECT * FROM unnest({arrays})"), values)
    else:
        marks = ", ".join("?" for _ in columns)
        connection.exec_driver_sql(f"INSERT INTO {table} ({listed}) VALUES ({marks})", rows)


def _update(rows: list[tuple[str, str | None]]) -> None:
    """The dataset of each job, and the end of its id."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        statement = sa.text(
            "UPDATE jobs SET dataset = found.dataset, tail = substr(jobs.id, length(jobs.id) - 5)"
            " FROM unnest(CAST(:ids AS text[]), CAST(:datasets AS text[])) AS found(id, dataset)"
            " WHERE jobs.id = found.id"
        )
        connection.execute(statement, {"ids": [row[0] for row in rows], "datasets": [row[1] for row in rows]})
    else:
        connection.exec_driver_sql(
            "UPDATE jobs SET dataset = ?2, tail = substr(id, length(id) - 5) WHERE id = ?1", rows
        )


def _indices() -> None:
    for owner in ("job", "model"):
        op.create_index(f"ix_{owner}_words_word", f"{owner}_words", ["word", f"{owner}_id"])
        op.create_index(f"ix_{owner}_metrics_name_value", f"{owner}_metrics", ["name", "value", f"{owner}_id"])
    op.drop_index("ix_jobs_finished_at", "jobs")
    op.create_index("ix_jobs_listing", "jobs", ["id", "status", "kind", "dataset", "starred"])
    op.create_index("ix_jobs_finished", "jobs", ["finished_at", "id", "status", "kind", "dataset", "starred"])
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset", "id"])
    op.create_index("ix_models_listing", "models", ["id", "dataset", "starred", "job_id"])
    op.create_index("ix_models_dataset_id", "models", ["dataset", "id"])
    for table in ("jobs", "models"):
        op.create_index(
            f"ix_{table}_starred",
            table,
            ["starred", "id"],
            postgresql_where=sa.text("starred"),
            sqlite_where=sa.text("starred = 1"),
        )
    for table in ("jobs", "models", "datasets", "sweeps"):
        op.create_index(op.f(f"ix_{table}_tail"), table, ["tail"])
