"""The API killed in the middle of a submit, of an upload, of a download; a new one takes its socket over."""

from __future__ import annotations

import hashlib
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from adderclient import AdderClientError
from jobs.tables import IdempotencyKey, Model
from tests.api.attempt import MANIFEST, model_file
from tests.faults import chain
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, now_ms, numbered
from tests.faults.plan import Strike
from tests.faults.stage import Accepted, Options, Stage
from tests.support.servers import wait_until
from tests.support.specs import train_body


class ApiKilled(Fault):
    options = Options(workers=1)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        injection = Injection(0, facts={"api": stage.api})
        self.fault(stage, strike, injection)
        injection.recovered = now_ms()
        return injection

    def strike_api(self, stage: Stage, injection: Injection) -> None:
        injection.at = now_ms()
        stage.restart_api()

    @abstractmethod
    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None: ...

    def confirm(self, stage: Stage, injection: Injection) -> str:
        said = injection.facts.get("seen", "")
        return f"signal 9 ended the API; {said}" if injection.facts["api"].killed and said else ""


class Call:
    """A request in a thread of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._answer: Any = None
        self._error: Exception | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._function()
        except Exception as error:  # noqa: BLE001  (raised in `result`)
            self._error = error

    def result(self) -> Any:
        self._thread.join(60)
        if self._error is not None:
            raise self._error
        return self._answer


class KilledInSubmit(ApiKilled):
    name = "API killed in the middle of a submit"
    about = "It is held before or after the commit of a new job and killed there, or killed at a random instant of the \
request; the client repeats the request with its Idempotency-Key."
    proof = "the API was held there; one job has the key"
    times = 12
    short = 3
    task = Task(steps=4, ms=20)

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        hold = ("before-submit", "after-submit", "")[strike.number % 3]
        task, key = numbered(self.task, len(stage.accepted)), f"key-{strike.number}"
        body = train_body(labels=task.labels(), limits={"max_attempts": 100}, resources={"threads": 1})
        if hold:
            stage.holds.arm(hold)
        call = Call(lambda: stage.client.jobs.submit(body, idempotency_key=key))
        if hold:
            wait_until(lambda: stage.holds.held(hold) is not None, f"the API to be at {hold}")
        else:
            time.sleep(0.02 * strike.pick)
        self.strike_api(stage, injection)
        if hold:
            stage.holds.release(hold)
        stage.accepted.append(Accepted(call.result().id, task))
        injection.facts["seen"] = f"held at {hold}" if hold else "within 20 ms of the request"
        injection.facts["key"] = key

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        """Exactly the one job: no other one carries the seed."""
        key = select(IdempotencyKey.job_id).where(IdempotencyKey.key == injection.facts["key"])
        job_id = stage.ask(lambda session: session.execute(key).scalar_one())
        seed = next(a.task.seed for a in stage.accepted if a.id == job_id and a.task)
        same = [job.id for job in stage.client.jobs.iterate(labels={"seed": str(seed)})]
        return [] if same == [job_id] else [f"one request made the jobs {same}"]


class KilledInUpload(ApiKilled):
    name = "API killed in the middle of an upload"
    about = (
        "It is killed when half of a model has arrived, or before or after the commit of its row; the user sends it \
again."
    )
    proof = "the API had read that much, or was held there; the second upload makes exactly one model of it"
    times = 6

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        hold = ("", "before-model", "after-model")[strike.number % 3]
        manifest = MANIFEST | {"metrics": {"val/accuracy": strike.number / 100}}
        path = stage.folder / "model.safetensors"
        path.write_bytes(model_file(manifest))
        if hold:
            stage.holds.arm(hold)
            call = Call(lambda: stage.client.models.import_(path))
            wait_until(lambda: stage.holds.held(hold) is not None, f"the API to be at {hold}")
            injection.facts["seen"] = f"held at {hold}"
        else:
            half_way = threading.Event()
            call = Call(lambda: send_half(stage, path.read_bytes(), half_way))
            wait_until(lambda: half_way.is_set() and incoming(stage) > 0, "half of the upload to arrive")
            injection.facts["seen"] = f"{incoming(stage)} bytes had arrived"
        self.strike_api(stage, injection)
        if hold:
            stage.holds.release(hold)
        try:
            call.result()
        except (AdderClientError, httpx2.TransportError) as error:
            injection.facts["seen"] += f"; the client was told: {error}"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        injection.facts |= {"sha256": sha256, "before": count_models(stage, sha256)}
        model = stage.client.models.import_(path)
        copy = stage.client.models.download(model.id, stage.folder / "copy.safetensors")
        injection.facts["same"] = copy.read_bytes() == path.read_bytes()
        injection.facts["expected"] = int(hold == "after-model")

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        facts, wrong = injection.facts, []
        if facts["before"] != facts["expected"]:
            wrong.append(f"after the kill there were {facts['before']} models of it, not {facts['expected']}")
        if (found := count_models(stage, facts["sha256"])) != 1:
            wrong.append(f"in the end there were {found} models of it")
        if not facts["same"]:
            wrong.append("the model that was downloaded has other bytes")
        return wrong


def count_models(stage: Stage, sha256: str) -> int:
    count = select(func.count()).select_from(Model).where(Model.sha256 == sha256)
    return int(stage.ask(lambda session: session.execute(count).scalar_one()))


def incoming(stage: Stage) -> int:
    """Bytes of unfinished uploads in the store."""
    folder = stage.settings.artifacts_dir / "incoming"
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.exists() else 0


def send_half(stage: Stage, content: bytes, half_way: threading.Event) -> None:
    """A multipart upload that stops in the middle and waits for its server to go away."""

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="weights"; filename="m"\r\n\r\n'
        yield content[: len(content) // 2]
        half_way.set()
        time.sleep(5)
        yield content[len(content) // 2 :] + b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Bearer {stage.key}"}
    httpx2.post(f"{stage.url}/v1/models", content=body(), headers=headers, timeout=30, trust_env=False)


class KilledInDownload(ApiKilled):
    name = "API killed in the middle of a download"
    about = "It is killed when some part of a 32 MB artifact has arrived; the client goes on by Range."
    proof = "the client's part was incomplete at the kill; its file has the right checksum"
    times = 6
    task = Task(steps=2, ms=20, result_kb=32 * 1024)

    def before(self, stage: Stage) -> None:
        self._job = stage.submit(self.task)
        stage.settle()

    def fault(self, stage: Stage, strike: Strike, injection: Injection) -> None:
        job, target = self._job, stage.folder / f"download-{strike.number}" / "chain.bin"
        share = 0.05 + 0.85 * strike.pick
        reached, killed, seen = threading.Event(), threading.Event(), []

        def progress(state: Any) -> None:
            if not reached.is_set() and state.total and state.received >= share * state.total:
                seen.append(f"{state.received} of {state.total} bytes had arrived")
                reached.set()
                killed.wait(30)

        call = Call(lambda: stage.client.jobs.download(job.id, "chain.bin", target, progress=progress))
        wait_until(reached.is_set, "a part to arrive")
        self.strike_api(stage, injection)
        killed.set()
        path: Path = call.result()
        injection.facts["seen"] = seen[0]
        *_, (_, state) = chain.states(self.task)
        injection.facts["same"] = path.read_bytes() == chain.result_bytes(state, self.task)

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        return [] if injection.facts["same"] else ["the file that was downloaded has other bytes"]


FAULTS = (KilledInSubmit(), KilledInUpload(), KilledInDownload())
