"""What a user can do wrong ends in a sentence and an exit code, never in a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adderclient import Client
from addercore import yaml
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import job
from tests.api.attempt import Worker
from tests.support.specs import train_body

SPEC = "kind: train\nmodel: {arch: lenet5_bn}\ndataset: {name: digits}\n"
COMMANDS = (
    ("jobs",),
    ("models",),
    ("datasets",),
    ("sweeps",),
    ("recipes",),
    ("workers",),
    ("system",),
    ("show", "job_1"),
    ("show", "f5ybcd"),
    ("show", "champion"),
    ("show", "@last"),
    ("watch", "job_1"),
    ("watch", "sweep_1"),
    ("metrics", "job_1"),
    ("events", "job_1"),
    ("logs", "job_1"),
    ("compare", "job_1", "job_2"),
    ("cancel", "job_1", "job_2"),
    ("delete", "job_1", "model_1", "--yes"),
    ("download", "job_1"),
    ("sweep", "table", "sweep_1"),
    ("submit", "spec.yaml"),
    ("submit", "spec.yaml", "--validate-only"),
    ("predict", "model_1", "data:image/png;base64,"),
    ("init",),
)
ANSWERS = {
    "an HTML page": ("text/html", b"<html><title>Router</title></html>"),
    "a JSON text": ("application/json", b'"hello"'),
    "another object": ("application/json", b'{"message": "ok"}'),
    "a list of other things": ("application/json", b'{"data": [{"colour": "red"}], "has_more": false, "next": null}'),
    "a list of texts": ("application/json", b'{"data": ["x"], "has_more": false}'),
    "no list": ("application/json", b'{"data": 7, "id": 5, "status": [], "created_at": "yesterday"}'),
    "nothing": ("application/json", b""),
    "what is not UTF-8": ("application/json", b"\xff\xfe"),
}


@pytest.fixture(params=ANSWERS.values(), ids=ANSWERS)
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that is none of ours, and answers everything with 200."""
    kind, body = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_is_none(stranger: str, adder: Adder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.setenv("ADDER_URL", stranger)
    for command in COMMANDS:
        done = adder(*command)  # an error that nobody catches would come out of this
        assert "Traceback" not in done.stderr, command
        assert done.returncode in (0, 1, 2, 3, 4), command


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"labels: {run: !!binary aGk=}", "labels.run is a bytes"),
        (b"labels: !!set {a, b}", "labels is a set"),
        (b"? [a]\n: 1", "keys are texts"),
        (b"1: 2", "has the key 1; keys are texts"),
        (b"epochs: .nan", "epochs is no finite number"),
        (b"a: &x [*x]", "nested too deeply"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"\n".join(
            b"%c: &%c [" % (c, c) + b",".join([b"*%c" % (c - 1)] * 10) + b"]" for c in b"bcdefg"), "too long"),
        (b"kind: train\nkind: evaluate", "found duplicate key"),
        (b"a: !!python/object:os.system x", "not YAML"),
        (b"a: \x00", "not YAML"),
        (b"\x89PNG\r\n\x1a\n\xff", "it is not text in UTF-8"),
        (b"---\na: 1\n---\nb: 2", "single document"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_spec(adder: Adder, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "spec.yaml").write_bytes(content)
    done = adder("submit", "spec.yaml")
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("list",), "adder jobs"),
        (("ls",), "adder jobs"),
        (("run", "spec.yaml"), "adder submit"),
        (("submti", "spec.yaml"), "adder submit"),
        (("jobs", "rm", "job_1"), "adder jobs delete"),
        (("datasets", "add", "a.zip"), "adder datasets upload"),
        (("frobnicate",), None),
    ],
)
def test_what_other_tools_call_a_command(adder: Adder, words: tuple[str, ...], meant: str | None) -> None:
    done = adder(*words)
    assert done.returncode == 2
    assert (f"did you mean {meant}?" in done.stderr) == (meant is not None)
    assert "there is no command" in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("submit", "spec.yaml", "--epochs", "5"), "--set epochs=…"),
        (("submit", "spec.yaml", "--lr=0.05"), "--set optimizer.lr=0.05"),
        (("submit", "spec.yaml", "--batch-size", "64"), "--set batch_size=…"),
        (("submit", "spec.yaml", "--optimizer.eta=1"), "--set optimizer.eta=1"),
        (("sweep", "submit", "sweep.yaml", "--seed", "3"), "--set base.seed=…"),
        (("submit", "spec.yaml", "--frobnicate"), None),
        (("jobs", "--epochs", "5"), None),
        (("submit", "--", "--epochs"), None),
    ],
)
def test_a_field_is_no_option(adder: Adder, words: tuple[str, ...], meant: str | None) -> None:
    done = adder(*words)
    assert done.returncode == 2
    assert (f"a field of the spec is set by {meant}" in done.stderr) == (meant is not None)


@pytest.mark.parametrize("words", [("show", ""), ("cancel", ".."), ("models", "delete", ""), ("worker", "drain", ".")])
def test_an_id_that_is_none(adder: Adder, words: tuple[str, ...]) -> None:
    done = adder(*words)
    assert done.returncode == 2
    assert done.stderr == f"adder: {words[-1]!r} is no id and no name\n"


def test_a_json_file_that_has_a_name_twice(adder: Adder, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"kind": "train", "kind": "evaluate"}')
    done = adder("submit", "spec.json")
    assert (done.returncode, "has 'kind' twice" in done.stderr) == (2, True)


def test_a_json_file_with_what_json_has_not(adder: Adder, tmp_path: Path) -> None:
    for content in ('{"epochs": NaN}', '{"labels": {"a": "\\ud800"}}', "[" * 200_000):
        (tmp_path / "spec.json").write_text(content)
        assert adder("submit", "spec.json").returncode == 2


def test_folders_and_files_that_are_not_there(adder: Adder, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in ("folder", "nothing.yaml", "nothing/spec.yaml"):
        for command in (
            ("submit", path),
            ("sweep", "submit", path),
            ("import", path),
            ("predict", "model_1", path),
            ("datasets", "upload", path, "--name", "x"),
        ):
            done = adder(*command)
            assert done.returncode == 2, (command, done.stderr)
            assert path.partition("/")[0] in done.stderr
    assert adder("init", "folder").returncode == 2
    assert adder("init", "nothing/job.yaml").returncode == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("on", "on"),
        ("no", "no"),
        ("5e-4", 5e-4),
        ("1e3", 1000.0),
        ("2024-01-05", "2024-01-05"),
        ("2024-01-05T10:00:00Z", "2024-01-05T10:00:00Z"),
        ("!!timestamp 2024-01-05", "2024-01-05"),
        ("12:30", "12:30"),
        ("0o17", 15),
        ("~", None),
        ("true", True),
        ('{"a": [1, null]}', {"a": [1, None]}),
    ],
)
def test_yaml_1_2(text: str, value: object) -> None:
    found = yaml.parsed(text)
    assert (found, type(found)) == (value, type(value))
    assert yaml.parsed(yaml.dumped({"a": value}, 80)) == {"a": value}


def test_words_that_are_no_text(adder_process: Adder, service: Service) -> None:
    for command in (("show", os.fsdecode(b"\xff")), ("jobs", "--search", os.fsdecode(b"\xff"))):
        done = adder_process(*command)
        assert done.returncode in (2, 3), done.stderr
        assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_and_a_closed_stdout(adder_process: Adder, service: Service) -> None:
    service.jobs = {"job_1": job("job_1", "succeeded", starred=True, name="数")}
    done = adder_process("jobs", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2605 \u6570" in done.stdout
    command = f"exec {sys.executable} -c 'from adderclient.command import main; main()' jobs >&-"
    environment = {**os.environ, "ADDER_URL": service.url}
    closed = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=300)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_failure(service: Service) -> None:
    service.jobs = {f"job_{n}": job(f"job_{n}", labels={"long": "x" * 200}) for n in range(300)}
    for options in ("", "--json", "--csv"):
        python = f"{sys.executable} -c 'from adderclient.command import main; main()'"
        script = f"{python} jobs --limit 300 {options} | head -1; exit ${{PIPESTATUS[0]}}"
        environment = {**os.environ, "ADDER_URL": service.url, "NO_COLOR": "1"}
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), options
        assert len(done.stdout.splitlines()) == 1


def test_an_interrupted_command_ends_with_130(real: Client, worker: Worker) -> None:
    """The log of a job that runs has no end."""
    running = real.jobs.submit(train_body())
    worker.log(worker.claim(), "begun\n")
    process = subprocess.Popen(
        [sys.executable, "-c", "from adderclient.command import main; main()", "logs", running.id, "--follow"],
        env={**os.environ, "ADDER_URL": real.url},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://127.0.0.1:999999", "ftp://x", "http://", "127.0.0.1:8000", "http://x y"]
)
def test_an_address_that_is_none(adder: Adder, url: str) -> None:
    done = adder("jobs", "--url", url)
    assert done.returncode in (2, 4)
    assert "Traceback" not in done.stderr


def test_the_address_may_have_a_path(service: Service, adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/lab/adder", "/lab/adder/", "/lab/adder/v1", "/lab/adder/v1/"):
        monkeypatch.setenv("ADDER_URL", service.url + path)
        adder("jobs")
        assert service.requests[-1][1].startswith("/lab/adder/v1/jobs?")
