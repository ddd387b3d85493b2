"""The test suite's own machinery: its parts, what its workers share, the run on AVX2 alone, runs beside a load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import torch

from addercore.ops import available
from tests.support import avx2_alone, repeat
from tests.support.servers import wait_until
from tests.support.shared import ROOT, Run

TESTS = """
import pytest

def test_short():
    pass

@pytest.mark.long("it counts to a million")
def test_long():
    pass

@pytest.fixture
def browser():
    pass

@pytest.fixture
def emulated():
    pass

def test_page(browser):
    pass

def test_neon(emulated):
    pass

@pytest.mark.long("every page")
def test_pages(browser):
    pass
"""

BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Other plugins than ours take seconds to load."""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest on a folder of tests that is not ours, with our parts."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  long(why): x\n  browser: x\n  emulator: x\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.parts", "-p", "no:cacheprovider", "-v", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | BARE,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param([], id="alone"),
        pytest.param(
            ["-p", "xdist", "-n", "2"], id="side by side", marks=pytest.mark.long("starts six more processes of pytest")
        ),
    ],
)
def test_the_short_part_says_what_it_leaves_out(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = pytest_in(tmp_path, "--part", "short", *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_short" in done.stdout
    said = done.stdout.partition("left out here, part of make test-all")[2].splitlines()
    counts = [line.partition(":")[0].split(maxsplit=1) for line in said if ": they " in line]
    assert counts == [["1", "browser"], ["1", "emulator"], ["1", "long"], ["1", "long and browser"]]
    rest = pytest_in(tmp_path, "--part", "rest", *workers)
    assert "4 passed" in rest.stdout
    assert "left out" not in rest.stdout


@pytest.mark.browser
def test_a_browser_ends_with_the_module_that_needs_it(tmp_path: Path) -> None:
    """While Playwright runs, no other test of its process can start an event loop."""
    drives = "from tests.support.browser import browser\n\ndef test_page(browser):\n    browser.new_page().close()\n"
    (tmp_path / "test_1.py").write_text(drives)
    (tmp_path / "test_2.py").write_text("import asyncio\n\ndef test_loop():\n    asyncio.run(asyncio.sleep(0))\n")
    (tmp_path / "test_3.py").write_text(drives)
    done = pytest_in(tmp_path)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_long_test_must_say_why(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n\n@pytest.mark.long\ndef test_it():\n    pass\n")
    done = pytest_in(tmp_path)
    assert done.returncode != 0
    assert "test_it.py::test_it: say why it is long" in done.stdout + done.stderr


ASKS = """
import sys, time
from pathlib import Path
from tests.support.shared import Run

def make(folder):
    time.sleep(0.2)
    (folder / "file").write_text("made")
    print("made", flush=True)

class Config:
    workerinput = {}

assert (Run(Config(), Path(sys.argv[1])).once("it", make) / "file").read_text() == "made"
"""


def test_what_is_shared_is_made_once(tmp_path: Path) -> None:
    asking = []
    for name in ("gw0", "gw1", "gw2"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", ASKS, str(tmp_path / name)]
        asking.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in asking]
    assert [process.returncode for process in asking] == [0, 0, 0]
    assert sorted(said) == ["", "", "made\n"]


def test_what_could_not_be_made_is_tried_again(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    run = Run(pytestconfig, tmp_path / "worker")

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run.once("it", fail)
    assert list(run.once("it", lambda folder: (folder / "whole").touch()).iterdir()) == [run.folder / "it" / "whole"]


STARTS = """
import sys
from pathlib import Path
from tests.support.shared import Run
print(Run(object(), Path(sys.argv[1])).postgres(), flush=True)
sys.stdin.read()
"""


def test_the_shared_server_ends_with_the_run_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        psycopg.connect(url.replace("/postgres?", "/adder_template?")).close()
        starter.kill()

    def gone() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return True
        return False

    wait_until(gone, "PostgreSQL to end")


@pytest.mark.parametrize(
    ("backends", "capability", "says"),
    [
        (("c-avx2", "c-generic"), "AVX2", "nothing beyond AVX2"),
        (("c-neon", "c-generic"), "DEFAULT", "c-neon does"),
        (("c-avx512", "c-avx2"), "AVX512", None),
        (("c-avx2", "c-generic"), "AVX512", None),
    ],
)
def test_the_run_on_avx2_alone_is_skipped_where_it_shows_nothing_new(
    monkeypatch: pytest.MonkeyPatch, backends: tuple[str, ...], capability: str, says: str | None
) -> None:
    monkeypatch.setattr(avx2_alone, "available", lambda: backends)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    reason = avx2_alone.reason_to_skip()
    assert (reason is None) if says is None else (says in str(reason))


@pytest.mark.skipif("c-avx2" not in available(), reason="the kernels for AVX2 do not run here")
def test_the_run_on_avx2_alone_takes_its_kernels_and_leaves_other_types_alone() -> None:
    asked = (
        "import torch; from addercore.ops import choose; print(torch.backends.cpu.get_cpu_capability(), "
        "*(choose(torch.device('cpu'), kind).name for kind in (torch.float32, torch.float64)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", asked],
        env=os.environ | avx2_alone.AVX2_ALONE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["AVX2", "c-avx2", "portable"]


@pytest.mark.long("three runs of pytest")
def test_repeated_runs_name_the_tests_that_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in BARE.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "test_it.py"
    file.write_text("def test_good():\n    pass\n\ndef test_bad():\n    assert False\n")
    options = ["--times", "2", "--load", "1", "--", "-p", "no:cacheprovider", "-c", "/dev/null", str(file)]
    assert repeat.main(options) == 1
    said = capfd.readouterr().out
    assert "0 of 2 runs passed beside a load of 1" in said
    assert "failed in 2: test_it::test_bad" in said
    assert repeat.main([*options, "-k", "good"]) == 0
