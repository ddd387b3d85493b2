"""The benchmarks' instruments: rows, CPU clocks of other processes, the load generator."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import rows
from benchmarks.cpu import Sampler, children, machine_seconds, tree_seconds
from benchmarks.service import load

IDLE = (0.1, 0.2, 0.3)


def test_a_row_carries_its_samples_their_summary_and_where_they_come_from(tmp_path: Path) -> None:
    rows.write([rows.Row("b", "v", "ms", [3.0, 1.0, 2.0], IDLE, {"quick": True})], tmp_path / "new" / "rows.jsonl")
    row = json.loads((tmp_path / "new" / "rows.jsonl").read_text())
    assert (row["n"], row["median"], row["min"], row["max"], row["p99"]) == (3, 2.0, 1.0, 3.0, None)
    assert row["values"] == [3.0, 1.0, 2.0]
    assert row["load_before"] == list(IDLE)
    assert {"device", "cores", "versions", "commit", "dirty"} <= row.keys()


@pytest.mark.parametrize(("count", "rank"), [(20, 20), (50, 50), (100, 99), (200, 198)])
def test_p99_is_the_nearest_rank(count: int, rank: int) -> None:
    assert rows.Row("b", "v", "ms", list(range(1, count + 1)), IDLE).p99 == rank


def test_the_table_marks_what_a_busy_machine_measured() -> None:
    text = rows.table([rows.Row("quiet", "v", "s", [1.0], IDLE), rows.Row("busy", "v", "s", [1.0], (2.0, 2.0, 2.0))])
    marked = [line.split()[0] for line in text.splitlines() if "~" in line]
    assert marked == ["busy"]


def test_cpu_of_another_process_is_what_it_says_itself() -> None:
    # It rests around both moments, so that reading between two samples is exact however late the sampler comes.
    program = """
import time
time.sleep(0.5)
print(time.time(), time.process_time(), flush=True)
time.sleep(0.5)
while time.process_time() < 1: pass
time.sleep(0.5)
print(time.time(), time.process_time(), flush=True)
time.sleep(0.5)
"""
    with Sampler() as sampler:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        sampler.add("busy", process.pid)
        out, _ = process.communicate()
    (begin, before), (end, after) = (map(float, line.split()) for line in out.splitlines())
    assert sampler.between("busy", begin, end) == pytest.approx(after - before, abs=0.02)
    with pytest.raises(ValueError, match="does not hold"):
        sampler.at("busy", begin - 3600)


def test_a_tree_counts_live_children_and_those_that_ended() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\n"
    parent = f"import subprocess, sys\nbusy = {busy!r}\nsubprocess.run([sys.executable, '-c', busy])\n"
    parent += "subprocess.Popen([sys.executable, '-c', busy + 'print(1, flush=True)\\ninput()'])\ninput()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(children(process.pid)) == 1
        assert tree_seconds(process.pid) >= 0.98  # the ended child's is in ticks of 10 ms
    finally:
        process.kill()
        process.communicate()


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, body))
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        return


def test_a_tree_counts_the_children_of_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()"
    middle = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])"
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {middle!r}])"
    began = machine_seconds()
    process = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert tree_seconds(process.pid) >= 0.3
        assert machine_seconds() - began >= 0.28  # in ticks of 10 ms
    finally:
        process.communicate("\n")


Counted = tuple[str, list[tuple[str, bytes]]]


@contextmanager
def _counted() -> Iterator[Counted]:
    seen: list[tuple[str, bytes]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Counting,), {"seen": seen})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/jobs", seen
        server.shutdown()
        thread.join()


@pytest.fixture
def counting() -> Iterator[Counted]:
    with _counted() as server:
        yield server


def test_several_servers_get_the_connections_by_turns(counting: Counted) -> None:
    with _counted() as other:
        arguments = [counting[0], other[0], "--method", "POST", "--body", "{}", "--expect", "201", "--connections", "2"]
        subprocess.run([sys.executable, load.__file__, *arguments, "--seconds", "0.5"], check=True, capture_output=True)
        assert counting[1]
        assert other[1]
        assert {path for path, _ in [*counting[1], *other[1]]} == {"/v1/jobs"}


def test_the_load_generator_sends_exactly_as_much_as_it_reports(counting: Counted) -> None:
    url, seen = counting
    arguments = ["--method", "POST", "--body", '{"a": 1}', "--requests", "50", "--warm-up", "10", "--connections", "4"]
    done = subprocess.run([sys.executable, load.__file__, url, "--expect", "201", *arguments],
                          capture_output=True, check=True)  # fmt: skip
    assert len(json.loads(done.stdout)["seconds"]) == 50
    assert seen == [("/v1/jobs", b'{"a": 1}')] * 60


def test_the_load_generator_fails_on_another_answer(counting: Counted) -> None:
    arguments = ["--method", "POST", "--body", "{}", "--requests", "1"]
    done = subprocess.run([sys.executable, load.__file__, counting[0], *arguments], capture_output=True)
    assert done.returncode != 0
    assert b"answered 201, not 200" in done.stderr
