"""The receiver of docs/webhooks.md runs, takes what is signed and refuses what is not."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2

from benchmarks.programs import die_with_parent
from jobs.webhooks.signing import headers, new_secret
from tests.docs.messages import ROOT
from tests.support.servers import wait_until


def test_the_receiver_of_the_page_verifies(tmp_path: Path) -> None:
    found = re.search(r"```python\n(# receiver\.py.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    assert found is not None
    program = tmp_path / "receiver.py"
    program.write_text(found[1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    old, secret = new_secret(), new_secret()
    command = [sys.executable, str(program), str(port)]
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=die_with_parent(9),
    ) as process, httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:  # fmt: skip
        assert process.stdout is not None

        def listens() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait_until(listens, "the receiver")
        body, now = '{"type":"job.failed","timestamp":"x","data":{}}', int(time.time())
        sent = headers((secret, old), "event_1", now, body)
        assert client.post("/", content=body, headers=sent).status_code == 204
        assert client.post("/", content=body, headers=sent).status_code == 204, "the same event again"
        assert client.post("/", content=body + " ", headers=sent).status_code == 401
        assert client.post("/", content=body, headers=headers((old,), "event_2", now, body)).status_code == 401
        assert client.post("/", content=body, headers=headers((secret,), "event_3", now - 900, body)).status_code == 401
        process.kill()
        assert process.stdout.read() == "job.failed\n", "it acts on each event once"
