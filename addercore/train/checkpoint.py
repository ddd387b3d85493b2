"""Checkpoints: files with a checksum, written atomically; the newest few are kept.

File: 8 bytes `ADDERCK1`, the sha256 of what follows (32 bytes), then a torch zip archive of tensors and plain values,
read with `weights_only=True`. The checksum is checked before anything is parsed.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import torch

from addercore.errors import CheckpointError
from addercore.files import replacing

MAGIC: Final = b"ADDERCK1"
_NAME: Final = re.compile(r"checkpoint-(\d+)(-unvalidated)?\.adderck")


def path_for(folder: Path, step: int, validated: bool = True) -> Path:
    """The file of the state after `step`. At an epoch's end there are two, before and after its validation."""
    return folder / f"checkpoint-{step:09d}{'' if validated else '-unvalidated'}.adderck"


def _all(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    found = [(int(m[1]), m[2] is None, path) for path in folder.glob("*") if (m := _NAME.fullmatch(path.name))]
    return [path for *_, path in sorted(found)]


class _Sink:
    """A file object for torch.save that hashes what is written and keeps an error for `finish`.

    torch writes from C++, where an exception would leave its writer half closed.
    """

    def __init__(self, file: io.BufferedRandom) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self._error: OSError | None = None

    def write(self, piece: Any) -> int:
        """`piece` is a bytes-like object; returns its size in bytes."""
        if self._error is None:
            try:
                self._file.write(piece)
                self._hash.update(piece)
            except OSError as error:
                self._error = error
        return memoryview(piece).nbytes

    def flush(self) -> None:
        """Does nothing: the file is synced once, in the end."""

    def finish(self) -> bytes:
        """The sha256 of everything written. Raises the error of a failed write."""
        if self._error is not None:
            raise self._error
        return self._hash.digest()


def save(path: Path, state: dict[str, Any]) -> str:
    """Writes `state` to `path`, whole or not at all; returns the file's sha256."""
    with replacing(path) as file:
        file.write(MAGIC + bytes(hashlib.sha256().digest_size))
        sink = _Sink(file)
        torch.save(state, cast(BinaryIO, sink))
        digest = sink.finish()
        file.seek(len(MAGIC))
        file.write(digest)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Path) -> bool:
    """Whether the checksum in the file matches its content."""
    try:
        with path.open("rb") as file:
            head, digest = file.read(len(MAGIC)), file.read(hashlib.sha256().digest_size)
            return head == MAGIC and hashlib.file_digest(file, "sha256").digest() == digest
    except OSError:
        return False


def prune(folder: Path, keep: int, whole: set[Path]) -> None:
    """Removes all but the `keep` newest undamaged checkpoints of `folder`; damaged ones are removed, too.

    `whole` has those that were verified before; newly verified ones are added.
    """
    kept = 0
    for path in reversed(_all(folder)):
        if kept < keep and (path in whole or is_whole(path)):
            kept += 1
            whole.add(path)
        else:
            path.unlink(missing_ok=True)
            whole.discard(path)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A state, its file, and why newer files of the folder could not be used."""

    state: dict[str, Any]
    path: Path
    lost: Sequence[CheckpointError] = ()


def load(path: Path) -> Loaded:
    """Loads a checkpoint, or the newest undamaged one if `path` is a folder. Tensors are on the CPU."""
    if not path.is_dir():
        return Loaded(_read(path), path)
    lost: list[CheckpointError] = []
    for candidate in reversed(_all(path)):
        try:
            return Loaded(_read(candidate), candidate, lost)
        except CheckpointError as error:
            lost.append(error)
    if lost:
        raise CheckpointError(f"{path} holds no whole checkpoint: {'; '.join(map(str, lost))}")
    raise CheckpointError(f"{path} holds no checkpoint")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error.strerror})") from error
    view = memoryview(content)
    head, digest, payload = bytes(view[:8]), bytes(view[8:40]), view[40:]
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
