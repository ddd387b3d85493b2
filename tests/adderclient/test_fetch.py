"""`adder datasets fetch`: the library's program as a process, on this machine's data folder."""

from __future__ import annotations

from pathlib import Path

from tests.adderclient.conftest import Adder


def test_what_is_not_there_is_said_with_where_to_get_it(adder_process: Adder, tmp_path: Path) -> None:
    done = adder_process("datasets", "fetch", "cifar10", "--from", str(tmp_path), "--data", str(tmp_path / "service"))
    assert done.returncode == 4
    assert "has neither cifar-10-binary.tar.gz nor data_batch_1.bin" in done.stderr
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in done.stderr
    assert not (tmp_path / "service" / "datasets" / "cifar10").exists()
