"""A run that goes on from the end of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import CheckpointError, fit
from addercore.train import checkpoint

pytestmark = pytest.mark.bits
OPTIONS: dict[str, Any] = {"device": "cpu", "threads": 1, "curves": False}


def last(folder: Path) -> Path:
    return sorted((folder / "checkpoints").iterdir())[-1]


def state_of(folder: Path) -> dict[str, Any]:
    return checkpoint.load(last(folder)).state


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_begins_with_the_weights_and_a_learning_rate_of_its_own(tmp_path: Path, config: Any, recorder: Any) -> None:
    fit(config(), workdir=tmp_path / "first", **OPTIONS)
    before = state_of(tmp_path / "first")
    seen = recorder(stop_at=1)
    nearly_still = config(epochs=3, optimizer={"lr": 1e-9, "weight_decay": 0.0})
    fit(nearly_still, workdir=tmp_path / "more", callbacks=seen, continue_from=last(tmp_path / "first"), **OPTIONS)
    after = state_of(tmp_path / "more")
    assert after["place"]["step"] == 1
    assert after["model"]["fc2.weight"].allclose(before["model"]["fc2.weight"], atol=1e-6)
    tracked = [int(state["model"]["bn1.num_batches_tracked"]) for state in (before, after)]
    assert tracked[1] == tracked[0] + 1
    assert seen.events[0][:2] == ("continued", "goes on from step 24 (epoch 2) of another run")

    whole = recorder()
    result = fit(
        config(epochs=3, optimizer={"lr": 0.02}), workdir=tmp_path / "whole", callbacks=whole,
        continue_from=last(tmp_path / "first"), **OPTIONS,
    )  # fmt: skip
    assert (result.epoch, result.step) == (3, 36)
    rates = {p.epoch: p.value for p in whole.points if p.name == "lr"}
    assert rates[1] == pytest.approx(0.02)
    assert rates[3] < rates[2] < rates[1], "a fresh cosine"
    assert min(p.epoch for p in whole.points) == 1


def test_momentum_is_kept(tmp_path: Path, config: Any, recorder: Any) -> None:
    fit(config(), workdir=tmp_path / "first", **OPTIONS)
    path = last(tmp_path / "first")
    state = checkpoint.load(path).state
    for one in state["optimizer"]["state"].values():
        for value in one.values():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                value.zero_()
    forgetful = tmp_path / "forgetful"
    forgetful.mkdir()
    bare = checkpoint.path_for(forgetful, 24, True)
    checkpoint.save(bare, state)

    def one_step(start: Path, folder: str) -> dict[str, torch.Tensor]:
        fit(config(), workdir=tmp_path / folder, callbacks=recorder(stop_at=1), continue_from=start, **OPTIONS)
        weights: dict[str, torch.Tensor] = state_of(tmp_path / folder)["model"]
        return weights

    assert equal(one_step(path, "a"), one_step(path, "b"))
    assert not equal(one_step(path, "c"), one_step(bare, "d"))


def test_stopped_and_resumed_it_ends_with_the_same_bytes(tmp_path: Path, config: Any, recorder: Any) -> None:
    fit(config(), workdir=tmp_path / "first", **OPTIONS)
    more: dict[str, Any] = {"continue_from": last(tmp_path / "first"), **OPTIONS}
    fit(config(epochs=3), workdir=tmp_path / "whole", **more)
    fit(config(epochs=3), workdir=tmp_path / "parts", callbacks=recorder(stop_at=7), **more)
    fit(config(epochs=3), workdir=tmp_path / "parts", resume_from=tmp_path / "parts/checkpoints", **more)
    whole, parts = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_another_network_or_a_damaged_file_is_refused(tmp_path: Path, config: Any) -> None:
    fit(config(epochs=1), workdir=tmp_path / "first", **OPTIONS)
    path = last(tmp_path / "first")
    with pytest.raises(CheckpointError, match="has another model than this training"):
        fit(config(model={"method": "conv"}), workdir=tmp_path / "b", continue_from=path, **OPTIONS)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged"):
        fit(config(), workdir=tmp_path / "b", continue_from=path, **OPTIONS)
