"""Checkpoints: one self-verifying file each, written atomically, the newest few kept.

File: 8 bytes `ADDERCK1`, the sha256 of what follows (32 bytes), then a torch zip archive of tensors and plain values,
read with `weights_only=True`. The checksum is checked before anything is parsed.
"""

import hashlib
import io
import re
from pathlib import Path
from typing import Any, Final

import torch

from addercore.errors import CheckpointError
from addercore.train.files import write_atomic

MAGIC: Final = b"ADDERCK1"
_NAME: Final = re.compile(r"checkpoint-(\d+)\.adderck")


def path_for(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step:09d}.adderck"


def _all(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> tuple[Path, str]:
    """Writes the state after `step` and removes all but the `keep` newest; returns the path and the file's sha256."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = path_for(folder, step)
    checksum = write_atomic(path, MAGIC + hashlib.sha256(payload).digest() + payload)
    for old in _all(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path, checksum


def load(path: Path) -> dict[str, Any]:
    """The state at `path`, or of the newest checkpoint if it is a folder; tensors land on the processor."""
    if path.is_dir():
        found = _all(path)
        if not found:
            raise CheckpointError(f"{path} holds no checkpoint")
        path = found[-1]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error.strerror})") from error
    head, digest, payload = content[:8], content[8:40], content[40:]
    if head != MAGIC:
        raise CheckpointError(f"{path} is no checkpoint of addercore")
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"checkpoint {path} is damaged: its checksum does not match; resume from an older one")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's restricted unpickler fails in any way on what it does not know
        raise CheckpointError(
            f"checkpoint {path} cannot be read by torch {torch.__version__}: it is no archive of plain values"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} does not hold a training state")
    return state
