"""Files that are not what they say."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

from jobs.settings import GIB
from tests.attack.line import Seen, line
from tests.attack.service import Service

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/attacked) (w) file closefile\nshowpage\n"


@line(8, "an EPS that is called PNG")
def eps(service: Service) -> Seen:
    path = f"/v1/models/{service.model}/predict"
    statuses = [
        service.api.post(path, content=EPS, headers={"Content-Type": kind}).status_code
        for kind in ("image/png", "application/postscript", "application/octet-stream")
    ]
    return Seen(all(400 <= status < 500 for status in statuses), str(statuses))


@line(7, "a small Parquet file of many images", long=True)
def parquet(service: Service) -> Seen:
    import pyarrow as pa
    from pyarrow import parquet as files

    pixel = {"bytes": b"\x89PNG" + bytes(2**20), "path": None}
    sink = io.BytesIO()
    table = pa.table({"image": [pixel] * 1600, "label": ["a", "b"] * 800})
    files.write_table(table, sink, compression="zstd", use_dictionary=True)
    return _refused(service, sink.getvalue(), "bomb.parquet")


@line(7, "a zip that promises 200,000 entries", long=True)
def archive(service: Service) -> Seen:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        for number in range(200_000):
            made.writestr(zipfile.ZipInfo(f"a/{number}"), b"")
    return _refused(service, sink.getvalue(), "many.zip")


@line(14, "numbers and pictures that no network can take")
def numbers(service: Service) -> Seen:
    path = f"/v1/models/{service.model}/predict"
    text = b"zTXt" + b"comment\0\0" + b"x" * 100
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(text) - 4) + text + bytes(4)
    bodies: list[dict[str, Any]] = [
        {"content": b'{"array": [[1e400]]}', "headers": {"Content-Type": "application/json"}},
        {"json": {"array": [[1e308] * 8] * 8}},
        {"json": {"array": [["\ud800"]]}},
        {"content": png, "headers": {"Content-Type": "image/png"}},
    ]
    statuses = [service.api.post(path, **body).status_code for body in bodies[:2] + bodies[3:]]
    return Seen(all(status < 500 for status in statuses), str(statuses))


def _refused(service: Service, upload: bytes, name: str) -> Seen:
    """The dataset becomes `failed`, and its validation takes a bounded amount of memory."""
    answer = service.api.post("/v1/datasets", data={"name": name.partition(".")[0]}, files={"file": (name, upload)})
    if answer.status_code != 201:
        return Seen(400 <= answer.status_code < 500, str(answer.status_code))
    job_id, most = answer.json()["job_id"], 0
    while service.api.get(f"/v1/jobs/{job_id}").json()["status"] in ("queued", "running"):
        most = max([most, *(_resident(pid) for pid in service.processes())])
    job = service.job(job_id)
    said = (job["error"] or {}).get("message", "")[:100]
    return Seen(job["status"] == "failed" and most < GIB, f"{job['status']}: {said} ({most / 2**20:.0f} MiB)")


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    except (OSError, IndexError):
        return 0
