"""The blocking client is made from the asynchronous one, and both have the same names."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from adderclient import AsyncClient, AsyncJob, Client, Job, make_sync

PAIRS = [(Client, AsyncClient), (Job, AsyncJob)]
PAIRS += [
    (type(getattr(Client("http://127.0.0.1:1"), name)), type(getattr(AsyncClient("http://127.0.0.1:1"), name)))
    for name in ("jobs", "models", "datasets", "recipes", "workers", "sweeps")
]


def test_the_blocking_client_is_in_step() -> None:
    assert make_sync.out_of_step() == [], "run `python -m adderclient.make_sync`"


def test_a_file_that_was_edited_lacks_or_is_left_over_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(make_sync.TARGET, tmp_path / "_sync")
    with (copy / "jobs.py").open("a") as file:
        file.write("# edited\n")
    (copy / "stream.py").unlink()
    (copy / "old.py").write_text("")
    monkeypatch.setattr(make_sync, "TARGET", copy)
    assert make_sync.out_of_step() == ["jobs.py", "old.py", "stream.py"]
    assert make_sync.main(["--check"]) == 1
    assert "adderclient/_sync/jobs.py is not in step" in capsys.readouterr().out
    assert make_sync.main([]) == 0
    assert make_sync.main(["--check"]) == 0


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_twins_have_the_same_methods_with_the_same_arguments(blocking: type, asynchronous: type) -> None:
    ours, theirs = public(blocking), public(asynchronous)
    assert list(ours) == list(theirs)
    for name, method in ours.items():
        assert inspect.getdoc(method) == inspect.getdoc(theirs[name])
        if inspect.isfunction(method):
            twin = theirs[name]
            assert not inspect.iscoroutinefunction(method)
            assert inspect.iscoroutinefunction(twin) or "AsyncIterator" in str(inspect.signature(twin))
            assert list(inspect.signature(method).parameters) == list(inspect.signature(twin).parameters)
    assert asynchronous.__name__ == f"Async{blocking.__name__}"
    assert not hasattr(blocking, "__aenter__")
