"""Celery worker: wakes up, claims jobs, supervises one training process per job, recovers what others lost."""
