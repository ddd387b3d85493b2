"""Mutated uploads: datasets, models and pictures are sent to the API, and datasets taken in as a worker would."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from tests.fuzz.corpus import CORPUS, MODEL, PICTURES
from tests.fuzz.mutate import Mutator
from tests.fuzz.server import Server
from tests.fuzz.watch import Watch

PATIENCE_SECONDS = 60.0


class Intake:
    """A process that takes uploads in; it is replaced when it ends or takes too long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = (folder / "intake.log").open("ab")
        self._process: subprocess.Popen[str] | None = None

    def take(self, upload: Path) -> dict[str, Any]:
        """What became of an upload."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.intake", str(self._folder)], cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{upload}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = self._end()
        return {"what": f"ended with {code}" if ready else f"took more than {PATIENCE_SECONDS:.0f} s", "mib": 0}

    def close(self) -> None:
        self._end()
        self._log.close()

    def _end(self) -> int:
        """Ends the process, if there is one, and returns its exit code."""
        if self._process is None:
            return 0
        with self._process as process:
            process.kill()
        self._process = None
        return process.returncode


def kinds() -> list[str]:
    return [*CORPUS, "model", *(f"picture {name}" for name in PICTURES)]


def case(start: int, number: int) -> tuple[str, bytes]:
    """The kind and the bytes of a mutated upload; the same for the same seed and number."""
    kind = kinds()[number % len(kinds())]
    made = MODEL() if kind == "model" else (PICTURES | CORPUS)[kind.removeprefix("picture ")]()
    return kind, Mutator(f"{start}:{number}").some(kind, made)


def send(server: Server, watch: Watch, numbers: range, start: int, folder: Path, became: Counter[str]) -> Iterator[str]:
    """Sends the uploads of these numbers; yields what is wrong, with the number that makes it again."""
    folder.mkdir(parents=True, exist_ok=True)
    intake = Intake(folder)
    try:
        with httpx2.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as api:
            model = api.post("/v1/models", files={"weights": MODEL(fill=b"\x01")}).json()["id"]
            for number in numbers:
                kind, data = case(start, number)
                watch.doing(f"upload {number} ({kind}) was sent")
                for wrong in _one(api, intake, kind, data, folder / "upload", model, f"fuzz{number}", became):
                    yield f"upload {number} ({kind}): {wrong}"
    finally:
        intake.close()


def _one(
    api: httpx2.Client, intake: Intake, kind: str, data: bytes, path: Path, model: str, name: str, became: Counter[str]
) -> Iterator[str]:
    try:
        if kind == "model":
            answer = api.post("/v1/models", files={"weights": ("model.safetensors", data)})
        elif kind.startswith("picture"):
            answer = api.post(f"/v1/models/{model}/predict", content=data, headers={"Content-Type": "image/png"})
        else:
            answer = api.post("/v1/datasets", data={"name": name}, files={"file": ("upload", data)})
    except httpx2.HTTPError as error:
        yield f"{type(error).__name__}: {error}"
        return
    became[f"{kind.split()[0]}: {answer.status_code}"] += 1
    if answer.status_code >= 500:
        yield f"{answer.status_code} {answer.text[:300]}"
    if kind in CORPUS:
        path.write_bytes(data)
        found = intake.take(path)
        became[found["what"].split(":")[0]] += 1
        if found["what"] not in ("ready", "refused"):
            yield f"the intake: {found['what'][:300]} ({found['mib']} MiB)"
