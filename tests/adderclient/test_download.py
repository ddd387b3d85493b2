"""Downloads are resumed, verified and never half there."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import pytest

from adderclient import AdderClientError, ChecksumMismatch, Client, ConnectionFailed, NotFoundError
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job, model

DATA = bytes(range(256)) * 4000 + b"odd end"  # 1,024,007 bytes
FILE = "GET /v1/jobs/job_1/artifacts/model.safetensors"


@pytest.fixture(autouse=True)
def _finished(service: Service) -> None:
    service.jobs["job_1"] = job("job_1", "succeeded")
    service.artifacts["job_1"] = {"model.safetensors": DATA, "a b/c.txt": b"text", "empty": b""}


def ranges(service: Service) -> list[str | None]:
    return [headers.get("range") for _, _, headers, _ in service.seen(FILE)]


def test_whole_file(client: Client, tmp_path: Path) -> None:
    reported = []
    path = client.jobs.download("job_1", "model.safetensors", tmp_path, progress=reported.append)
    assert path == tmp_path / "model.safetensors"
    assert path.read_bytes() == DATA
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert (reported[-1].received, reported[-1].total) == (len(DATA), len(DATA))


def test_dropped_connections_are_continued(service: Service, client: Client, tmp_path: Path) -> None:
    service.break_(FILE, cut_after=300_000)
    service.break_(FILE, status=503)
    service.break_(FILE, cut_after=300_000)
    path = client.jobs.download("job_1", "model.safetensors", tmp_path / "renamed.bin")
    assert path.read_bytes() == DATA
    asked = ranges(service)
    assert asked[0] is None
    assert len(asked) == 4
    assert asked[1] == asked[2] == "bytes=300000-"
    assert asked[3] == "bytes=600000-"


def test_a_later_call_continues(service: Service, client: Client, tmp_path: Path) -> None:
    service.break_(FILE, cut_after=500_000)
    service.break_(FILE, close_before_answer=True, times=5)
    with pytest.raises(ConnectionFailed):
        client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert (tmp_path / "model.safetensors.part").stat().st_size == 500_000
    assert not (tmp_path / "model.safetensors").exists()
    path = client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert path.read_bytes() == DATA
    assert ranges(service)[-1] == "bytes=500000-"


def test_wrong_bytes_are_refused_and_removed(service: Service, client: Client, tmp_path: Path) -> None:
    service.published["model.safetensors"] = "0" * 64
    with pytest.raises(ChecksumMismatch, match=r"model\.safetensors"):
        client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_part_is_found_out(service: Service, client: Client, tmp_path: Path) -> None:
    part = tmp_path / "model.safetensors.part"
    part.write_bytes(b"x" * 1000)
    with pytest.raises(ChecksumMismatch):
        client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert not part.exists()
    assert client.jobs.download("job_1", "model.safetensors", tmp_path).read_bytes() == DATA


def test_a_part_of_another_version_is_not_continued(service: Service, client: Client, tmp_path: Path) -> None:
    """The listing and the file disagree about the version: If-Range makes the server send all of it."""
    (tmp_path / "model.safetensors.part").write_bytes(b"old" * 100)
    listed = hashlib.sha256(DATA).hexdigest()
    service.break_(FILE, status=200, body=DATA, headers={"ETag": f'"{listed}"', "Content-Length": str(len(DATA))})
    assert client.jobs.download("job_1", "model.safetensors", tmp_path).read_bytes() == DATA


def test_a_complete_part_needs_no_bytes(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.part").write_bytes(DATA)
    assert client.jobs.download("job_1", "model.safetensors", tmp_path).read_bytes() == DATA
    assert len(ranges(service)) == 1


def test_a_part_that_is_too_long_starts_anew(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.part").write_bytes(DATA + b"more")
    assert client.jobs.download("job_1", "model.safetensors", tmp_path).read_bytes() == DATA
    assert ranges(service) == [f"bytes={len(DATA) + 4}-", None]


def test_what_is_there_is_not_fetched_again(service: Service, client: Client, tmp_path: Path) -> None:
    client.jobs.download("job_1", "model.safetensors", tmp_path)
    client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert len(ranges(service)) == 1
    (tmp_path / "model.safetensors").write_bytes(b"edited")
    client.jobs.download("job_1", "model.safetensors", tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == DATA


def test_odd_names_and_empty_files(client: Client, tmp_path: Path) -> None:
    assert client.jobs.download("job_1", "a b/c.txt", tmp_path).name == "c.txt"
    assert client.jobs.download("job_1", "empty", f"{tmp_path}/new/").read_bytes() == b""
    with pytest.raises(NotFoundError, match=r"no artifact 'nothing'; it has: a b/c\.txt, empty, model\.safetensors"):
        client.jobs.download("job_1", "nothing", tmp_path)


def test_two_downloads_of_one_file_do_not_mix(client: Client, tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AdderClientError, match="another download"):
            client.jobs.download("job_1", "model.safetensors", tmp_path)
    client.jobs.download("job_1", "model.safetensors", tmp_path)


def test_models_are_verified_too(service: Service, client: Client, tmp_path: Path) -> None:
    service.models["model_1"] = model("model_1", sha256=hashlib.sha256(DATA).hexdigest())
    service.weights["model_1"] = DATA
    service.break_("GET /v1/models/model_1/download", cut_after=1000)
    assert client.models.download("model_1", tmp_path).read_bytes() == DATA
    assert service.requests[-1][2]["range"] == "bytes=1000-"
    assert client.models.download("model_1", tmp_path, format="manifest").name == "model.json"
    service.etags = False
    with pytest.raises(AdderClientError, match="no checksum"):
        client.models.download("model_1", tmp_path / "x", format="onnx")
    assert not (tmp_path / "x.part").exists()
