"""Shared by the engine's tests."""

from __future__ import annotations

import pytest

from addercore.runtime import library


@pytest.fixture(autouse=True)
def _engine_is_built() -> None:
    try:
        library.load()
    except RuntimeError as error:
        pytest.skip(str(error))
