"""The artifact store: blobs named by the sha256 of their bytes, in a folder or in an S3 bucket.

- `interface`: what every store does, and an upload that becomes a blob.
- `folder`, `s3`: the two kinds.
- `opening`: the store that the settings name.
"""

from jobs.store.interface import SHA256, ArtifactStore, Blob, Upload
from jobs.store.opening import store_of

__all__ = ["SHA256", "ArtifactStore", "Blob", "Upload", "store_of"]
