"""The load benchmarks' instruments: slopes with their interval, stand-ins for trainings, judging how jobs ended."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import drain, samples, users
from benchmarks.service.crowd import frames
from benchmarks.service.setup import TINY_CHILD, Deployment


def test_quantiles_keep_the_extremes_and_the_shape() -> None:
    values = list(range(10_001))
    random.Random(0).shuffle(values)
    kept = samples.quantiles(values, 201)
    assert (len(kept), kept[0], kept[100], kept[-1]) == (201, 0, 5_000, 10_000)
    assert samples.quantiles([3.0, 1.0, 2.0]) == [1.0, 2.0, 3.0]


def test_a_slope_is_found_in_noise_and_a_line_has_no_interval() -> None:
    times = [i / 100 for i in range(1_000)]
    exact = samples.slope(times, [5 + 2 * t for t in times])
    assert (exact.low, exact.value, exact.high) == pytest.approx((2, 2, 2))
    noise = random.Random(1)
    found = samples.slope(times, [5 + 2 * t + noise.gauss(0, 1) for t in times])
    assert found.low < 2 < found.high
    assert found.high - found.low < 0.2
    with pytest.raises(ValueError, match="too few"):
        samples.slope(times[:39], times[:39])


def test_the_interval_bears_samples_that_depend_on_each_other() -> None:
    """Noise that remembers (AR(1)), no slope: the interval of 95 % holds zero nearly as often as it says."""
    held = 0
    for seed in range(100):
        noise, value, values = random.Random(seed), 0.0, []
        for _ in range(2_000):
            value = 0.9 * value + noise.gauss(0, 1)
            values.append(value)
        found = samples.slope(list(range(2_000)), values)
        held += found.low <= 0 <= found.high
    assert held >= 88


def test_rates_are_those_of_each_part() -> None:
    ends = [float(second) for second in range(1, 11)] + [10 + second / 2 for second in range(1, 11)]
    assert drain._rates(0.0, ends) == pytest.approx([1.0] * 5 + [2.0] * 5)


def test_a_deployment_other_than_the_usual_one_is_part_of_a_rows_name() -> None:
    assert drain._named(Deployment()) == ""
    assert drain._named(Deployment(apis=2)) == ", API ×2, workers ×8"
    assert drain._named(Deployment(apis=2, workers=4, store="s3")) == ", API ×2, workers ×4, s3"


def test_what_is_used_is_told_by_role_and_the_rest_is_other_work() -> None:
    parts = {"api": os.getpid(), "api 2": os.getpid()}
    reading = drain.Reading.of(parts)
    while time.process_time() < sum(reading.parts.values()) / 2 + 0.3:
        pass
    used, others = reading.used(parts)
    assert used["api"] == pytest.approx(0.6, abs=0.1), "the same process twice"
    assert 0 <= others <= (os.cpu_count() or 1)


@dataclass
class Ended:
    status: str
    error: dict[str, Any] | None = None
    retry_of: str | None = None


def test_only_what_users_did_excuses_a_jobs_end() -> None:
    record = users.Record(points=3, fail=False)
    assert users.wrong_end(record, Ended("succeeded"), [1, 2, 3]) is None
    assert "steps" in (users.wrong_end(record, Ended("succeeded"), [1, 3]) or "")
    assert "steps" in (users.wrong_end(record, Ended("succeeded"), [1, 2, 2, 3]) or "")
    assert "failed" in (users.wrong_end(record, Ended("failed"), [1, 2, 3]) or "")
    assert "cancelled" in (users.wrong_end(record, Ended("cancelled"), [1]) or "")
    assert users.wrong_end(record, None, []) == "is gone"
    assert users.wrong_end(users.Record(3, False, cancelled=True), Ended("cancelled"), [1]) is None
    assert users.wrong_end(users.Record(3, True), Ended("failed"), [1, 2, 3]) is None
    assert users.wrong_end(users.Record(3, False, deleted=True), None, []) is None


async def _whole_frames(chunks: list[bytes]) -> list[bytes]:
    reader = asyncio.StreamReader()
    for chunk in [*chunks, b""]:
        reader.feed_data(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    return [frame async for frame in frames(reader)]


def test_frames_are_whole_however_they_are_cut_into_chunks() -> None:
    text = b"event: metric\ndata: 1\n\nevent: metric\ndata: 2\n\n"
    with ThreadPoolExecutor(1) as other:  # a browser test may have left a loop in this thread
        for cut in range(1, len(text)):
            found = other.submit(lambda cut=cut: asyncio.run(_whole_frames([text[:cut], text[cut:]]))).result()
            assert found == [b"event: metric\ndata: 1", b"event: metric\ndata: 2"]


def _child(folder: Path, labels: dict[str, str], checkpoints: list[str], *, stop: bool) -> list[dict[str, Any]]:
    """What a stand-in says; stopped once it has said its first point where `stop`."""
    order = folder / "job.json"
    order.write_text(json.dumps({"spec": {"labels": labels}, "workdir": str(folder), "checkpoints": checkpoints}))
    (messages, says), (hears, lifeline) = os.pipe(), os.pipe()
    pipes = ("--messages-fd", str(says), "--lifeline-fd", str(hears))
    command = [sys.executable, "-I", "-S", str(TINY_CHILD), "--job", str(order), *pipes]
    process = subprocess.Popen(command, pass_fds=(says, hears))
    os.close(says)
    os.close(hears)
    said = []
    with os.fdopen(messages) as pipe:
        for line in pipe:
            said.append(json.loads(line))
            if stop and said[-1]["type"] == "metrics":
                process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 0
    os.close(lifeline)
    return said


def test_a_stand_in_that_is_stopped_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    labels = {"points": "50", "seconds": "2.5"}
    first = _child(tmp_path, labels, [], stop=True)
    assert [m["type"] for m in first[-2:]] == ["checkpoint", "stopped"]
    second = _child(tmp_path, labels | {"seconds": "0"}, [first[-2]["path"]], stop=False)
    steps = [m["points"][0]["step"] for m in [*first, *second] if m["type"] == "metrics"]
    assert steps == list(range(1, 51))
    assert second[-1] == {"type": "done", "result": {"steps": 50}}
