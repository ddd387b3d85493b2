"""Files that are whole or absent."""

import hashlib
import os
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> str:
    """Writes `content` to `path` by temporary file, fsync and rename; returns its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
    return hashlib.sha256(content).hexdigest()
