"""Opens the artifact store that the settings name."""

from __future__ import annotations

from jobs.settings import Settings
from jobs.store.folder import FolderStore
from jobs.store.interface import ArtifactStore


def store_of(settings: Settings) -> ArtifactStore:
    """The store that `ADDER_ARTIFACTS_URL` names: an S3 bucket, or the folder `DATA/artifacts` where it is empty."""
    if not settings.artifacts_url:
        return FolderStore(settings.artifacts_dir, settings.store_grace_seconds)
    keys = {
        "access_key_id": settings.artifacts_access_key_id,
        "secret_access_key": settings.artifacts_secret_access_key,
    }
    from jobs.store.s3 import S3Store  # its client library takes time and memory that a folder does not need

    return S3Store(
        settings.artifacts_url,
        settings.data_dir / "incoming",
        settings.store_grace_seconds,
        settings.store_retry_seconds,
        {name: secret.get_secret_value() for name, secret in keys.items() if secret.get_secret_value()},
    )
