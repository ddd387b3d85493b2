"""The look inside a pair of trainings: its rows and its table, from real ones."""

import json
from pathlib import Path

import pytest

from addercore.config import InvalidConfig
from benchmarks import gap


def test_a_pair_is_trained_and_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dataset", "digits", "--holdout", "0.2", "--epochs", "2", "--images", "60", "--seeds", "3"]
    changes = {"batch_size": 400, "optimizer": {"filter_lr": 0.05}}
    gap.main(
        [
            *options,
            "--adder",
            json.dumps(changes),
            "--conv",
            '{"batch_size": 400}',
            "--write",
            "--results",
            str(tmp_path),
        ]
    )
    rows = [json.loads(line) for line in (tmp_path / "gap.jsonl").read_text().splitlines()]
    assert [(row["method"], row["epoch"], row["step"]) for row in rows] == [
        ("adder", 1, 3), ("adder", 2, 6), ("conv", 1, 3), ("conv", 2, 6)
    ]  # fmt: skip
    assert {"validation_accuracy", "validation_by_batch", "seed", "commit", "device"} <= rows[0].keys()
    assert (rows[0]["spec"]["batch_size"], rows[0]["spec"]["optimizer"]["filter_lr"]) == (400, 0.05)
    # eq. 13: γ η √k / ‖F‖, with the filters' own γ of the first epoch and half of it in the second
    for row, lr in zip(rows[:2], (0.05, 0.025), strict=True):
        layer = row["layers"][2]
        assert (layer["layer"], layer["kind"]) == ("conv3", "adder")
        assert layer["relative_step"] == pytest.approx(lr * 0.1 * 48_000**0.5 / layer["weight_norm"], rel=1e-4)
    assert {layer["kind"] for layer in rows[2]["layers"]} == {"other"}
    last = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in last[-5:]] == [layer["layer"] for layer in rows[0]["layers"]]
    shown = f"{rows[1]['validation_accuracy']:.2%}", f"{rows[3]['validation_accuracy']:.2%}"
    assert any(line.split() == ["validation", *shown] for line in last)


def test_changes_that_make_no_spec_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="filter_lr is for adder layers"):
        gap.main(["--dataset", "digits", "--conv", '{"optimizer": {"filter_lr": 1}}', "--results", str(tmp_path)])
