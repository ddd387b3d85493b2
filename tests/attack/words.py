"""What goes out again: to terminals, browsers and other clients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2

from tests.attack.line import Seen, line
from tests.attack.service import CANARY, Service, spec

ESCAPE = "\x1b]0;owned\x07\x1b[31m"


@line(13, "terminal escapes in labels")
def escapes(service: Service) -> Seen:
    answer = service.api.post("/v1/jobs", json=spec(epochs=1, labels={"note": ESCAPE}))
    if answer.status_code != 201:
        return Seen(answer.status_code == 422, f"refused: {answer.status_code}")
    job = answer.json()["id"]
    adder = str(Path(sys.executable).with_name("adder"))
    shown = subprocess.run([adder, "show", job], env={"ADDER_URL": service.url}, capture_output=True).stdout
    service.api.post(f"/v1/jobs/{job}/cancel")
    return Seen(b"\x1b" not in shown, "no escape in `adder show`" if b"\x1b" not in shown else repr(shown[:80]))


@line(17, "the policy of a drawing that is opened by itself")
def drawing(service: Service) -> Seen:
    sweep = service.api.post("/v1/sweeps", json={"base": spec(epochs=1), "grid": {"seed": [0, 1]}}).json()["id"]
    policy = service.api.get(f"/v1/sweeps/{sweep}/figure.svg").headers.get("Content-Security-Policy", "")
    service.api.post(f"/v1/sweeps/{sweep}/cancel")
    return Seen("default-src 'none'" in policy and "sandbox" in policy, policy or "none")


@line(17, "an Origin of the same name under another scheme")
def origin(service: Service) -> Seen:
    headers = {"Origin": service.url.replace("http://", "https://")}
    status = service.api.post("/v1/jobs?validate_only=true", json=spec(), headers=headers).status_code
    return Seen(status == 403, str(status))


@line(17, "where the server keeps its files")
def paths(service: Service) -> Seen:
    texts = {
        path: service.api.get(path).text for path in ("/v1/datasets", "/datasets", "/v1/system", "/readyz", "/v1/jobs")
    }
    refused = service.api.post("/v1/jobs", json=spec(dataset={"name": "mnist"}))
    texts["a dataset that is not there"] = refused.text
    told = [name for name, text in texts.items() if str(service.data) in text]
    return Seen(not told, f"told by {told}" if told else "nowhere")


@line("threat", "secrets of the machine in answers, pages and logs")
def secrets(service: Service) -> Seen:
    pages = ("/", "/v1/system", "/metrics", "/v1/jobs", "/readyz", "/openapi.json", "/healthz")
    told = [path for path in pages if CANARY in service.api.get(path).text]
    told += [path.name for path in (service.data / "logs").iterdir() if CANARY in path.read_text(errors="replace")]
    return Seen(not told, f"told by {told}" if told else "nowhere")


@line("threat", "a name that was rebound to this machine")
def rebinding(service: Service) -> Seen:
    status = httpx2.get(f"{service.url}/v1/jobs", headers={"Host": "attacker.example"}).status_code
    return Seen(status in (400, 403, 421), str(status))
