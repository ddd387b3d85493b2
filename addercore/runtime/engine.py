"""An integer model that runs: the engine in C behind numpy arrays."""

from __future__ import annotations

import ctypes
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from addercore.errors import BadModel
from addercore.runtime.library import Info, load

if TYPE_CHECKING:
    from PIL.Image import Image

ERROR_BYTES: Final = 512
MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What an integer model says of one image.

    Attributes:
        label: name of the most probable class.
        probabilities: probability of each class by name, 0…1, in the model's order: the softmax of the scores.
    """

    label: str
    probabilities: dict[str, float]


class IntegerModel:
    """A model file that is open: mapped into memory, read in place. Any number of threads may use it.

    Args:
        path: a `model.adder`.
        engine: name of the instruction set's kernels; else the variable ADDER_RUNTIME names it, else it is the fastest.

    Raises:
        BadModel: the file is missing, damaged, or of another version.
        ValueError: an engine that does not exist, or that this processor lacks.
        RuntimeError: the package was installed without its C library.

    Attributes:
        input_shape: (C, H, W) of the images.
        classes: their names; numbers as text where the file names none.
        manifest: what the file says of itself.
        engine: name of the engine that runs.
        file_bytes: size of the file.
        workspace_bytes: memory that a thread of `run` takes beside the file.
        activation_bytes: the part of it that holds the values between operations.
        table_bytes: memory that the open model takes beside the file, once.
        terms: of all sums for one image; bounds what running a file of unknown origin costs.
        slow_terms: of them, those that no kernel computes but a loop over elements, some hundred times slower.
    """

    def __init__(self, path: str | Path, engine: str | None = None) -> None:
        self._library = load()
        self._model = _open(self._library, str(path), engine)
        info = Info()
        self._library.adder_describe(self._model, ctypes.byref(info))
        self.input_shape: tuple[int, int, int] = (info.channels, info.height, info.width)
        self.engine: str = info.engine.decode()
        self.file_bytes, self.workspace_bytes = int(info.file_bytes), int(info.workspace_bytes)
        self.activation_bytes, self.table_bytes = int(info.activation_bytes), int(info.table_bytes)
        self.terms, self.slow_terms = int(info.terms), int(info.slow_terms)
        self._count = int(info.classes)
        self._path = str(path)
        self.manifest = self._read_manifest(ctypes.string_at(info.manifest, info.manifest_bytes))
        self.classes = _class_names(self.manifest, self._count)
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def __del__(self) -> None:
        model = getattr(self, "_model", None)
        if model is not None:
            self._library.adder_close(model)

    def run(self, images: NDArray[np.uint8], threads: int = 1) -> NDArray[np.float32]:
        """Scores of images.

        Args:
            images: uint8 (N, C, H, W), pixels as in a file: 0…255, not normalised.
            threads: how many threads share the images; more than N are not used.

        Returns:
            float32 (N, classes), the same bits for any number of threads and on any machine.

        Raises:
            ValueError: an array of another type or shape, or `threads` below 1.
            MemoryError: the workspace of `workspace_bytes` a thread cannot be had.
        """
        images = self._checked(images)
        if not 1 <= threads <= MOST_THREADS:
            raise ValueError(f"threads is {threads}: there can be 1…{MOST_THREADS}")
        scores = np.empty((len(images), self._count), np.float32)
        threads = min(threads, len(images))
        if threads <= 1:
            self._run_part(images, scores)
            return scores
        bounds = [len(images) * part // threads for part in range(threads + 1)]
        pool = _pool(threads - 1)
        pairs = list(pairwise(bounds))
        rest = [pool.submit(self._run_part, images[a:b], scores[a:b]) for a, b in pairs[1:]]
        self._run_part(images[: bounds[1]], scores[: bounds[1]])
        for part in rest:
            part.result()
        return scores

    def predict(self, image: str | Path | Image | NDArray[np.uint8]) -> Answer:
        """The class of one image.

        Args:
            image: a file or a PIL image, which needs Pillow (the extra `runtime-image`): turned upright, made grey or
                RGB and resized as the model needs it; or uint8 (C, H, W) of the model's `input_shape`.

        Returns:
            The most probable class and all probabilities.

        Raises:
            ValueError: an array of another type or shape.
            BadData: a file that cannot be read as an image.
            ModuleNotFoundError: Pillow is needed and not installed.
        """
        if isinstance(image, np.ndarray):
            pixels = image
        else:
            from addercore.runtime.images import pixels_of

            pixels = pixels_of(image, self.input_shape)
        scores = self.run(pixels[None])[0].astype(np.float64)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        return Answer(self.classes[int(scores.argmax())], dict(zip(self.classes, shares.tolist(), strict=True)))

    def verify(self) -> None:
        """Compares the checksums in the file; opening checks everything but these.

        Raises:
            BadModel: the file is damaged.
        """
        why = ctypes.create_string_buffer(ERROR_BYTES)
        if self._library.adder_verify(self._model, why, ERROR_BYTES):
            raise BadModel(f"{self._path}: {why.value.decode(errors='replace')}; take the file from its source again")

    def _checked(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise ValueError(f"images are {kind}; they must be a numpy array of uint8 with pixels of 0…255")
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise ValueError(
                f"images have the shape {images.shape}; this model takes (N, {', '.join(map(str, self.input_shape))})"
            )
        return np.ascontiguousarray(images)

    def _run_part(self, images: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
        with self._lock:
            workspace = self._free.pop() if self._free else np.empty(self.workspace_bytes, np.uint8)
        self._library.adder_run(
            self._model, images.ctypes.data, len(images), scores.ctypes.data, workspace.ctypes.data
        )  # without the interpreter's lock
        with self._lock:
            self._free.append(workspace)

    def _read_manifest(self, content: bytes) -> dict[str, Any]:
        try:
            manifest = json.loads(content.decode())
        except ValueError as error:
            raise BadModel(
                f"{self._path}: the manifest is no JSON ({error}); take the file from its source again"
            ) from None
        if not isinstance(manifest, dict):
            raise BadModel(f"{self._path}: the manifest is no JSON object; take the file from its source again")
        return manifest


def _open(library: ctypes.CDLL, path: str, engine: str | None) -> ctypes.c_void_p:
    model, why = ctypes.c_void_p(), ctypes.create_string_buffer(ERROR_BYTES)
    name = None if engine is None else engine.encode()
    if library.adder_open(os.fsencode(path), name, ctypes.byref(model), why, ERROR_BYTES):
        message = why.value.decode(errors="replace")
        if "names the engine" in message:
            raise ValueError(message)
        raise BadModel(f"{path}: {message}")
    return model


def _class_names(manifest: dict[str, Any], count: int) -> list[str]:
    names = manifest.get("classes")
    if isinstance(names, list) and len(names) == count:
        return [str(name) for name in names]
    return [str(number) for number in range(count)]


_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for parts of batches; one pool for each number of them, kept."""
    with _pools_lock:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="adder-run")
        return _pools[threads]
