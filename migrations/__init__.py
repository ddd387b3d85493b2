"""Alembic migrations, shipped with the package. `python -m jobs.migrate` runs them."""
