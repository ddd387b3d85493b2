"""Integer adder networks that run: a model file, an engine in C, and their definition in plain numpy (docs/integer.md).

Needs numpy alone (extra `runtime`), and Pillow for image files (extra `runtime-image`).
"""

from pathlib import Path

from addercore.runtime.engine import Answer, IntegerModel
from addercore.runtime.library import engines

__all__ = ["Answer", "IntegerModel", "engines", "load"]


def load(path: str | Path, engine: str | None = None) -> IntegerModel:
    """Opens an integer model.

    Args:
        path: a `model.adder`.
        engine: as for `IntegerModel`.

    Returns:
        The model, ready to `run` and `predict`.

    Raises:
        BadModel: the file is missing, damaged, or of another version.
        ValueError: an engine that does not exist, or that this processor lacks.
        RuntimeError: the package was installed without its C library.
    """
    return IntegerModel(path, engine)
