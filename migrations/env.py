"""Alembic's entry: runs on the connection that `jobs.migrate` hands over."""

from alembic import context

from jobs.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=False)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        # Two migrations at once (compose up with several API containers) queue up here.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4919131752989213764)")
        # Row security holds for the owner of the tables too: a migration works for all projects.
        connection.exec_driver_sql("SELECT set_config('adder.project', '*', true)")
    context.run_migrations()
