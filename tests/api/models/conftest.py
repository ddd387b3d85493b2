"""A quantised model, and API and inference process over one store."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.api.conftest import Running, running, threaded
from tests.api.dashboard import PATIENT
from tests.conftest import quick_settings
from tests.support.servers import Valkey


@pytest.fixture(scope="session")
def integers(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A quantised LeNet-5-BN."""
    from addercore.config import QuantizeConfig
    from addercore.quant.conversion import MODEL, convert

    folder = tmp_path_factory.mktemp("integers")
    spec = {"model_id": "model_1", "dataset": {"name": "digits"}, "calibration_images": 64}
    convert(QuantizeConfig.from_dict(spec), digits_model, folder)
    return (folder / MODEL).read_bytes()


@pytest.fixture
def whole(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[Running]:
    """API and inference process over one store."""
    from worker.inference import create_app

    path = tmp_path / "inference.sock"
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, **PATIENT, inference_url=f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, lifespan="off"))
        with threaded(server, listener), running(settings) as site:
            yield site
