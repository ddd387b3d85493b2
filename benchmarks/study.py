"""`python -m benchmarks.study PLAN [--look]`: the adder network against its twin and others, each at its best setting.

1. Every setting of the plan is a sweep over the search's seeds, judged by val/accuracy on held-out training images.
2. The best setting of each method is a sweep over the final seeds, which the search has not seen.
3. With `--look`, and then alone, each final model is evaluated on the published test images: the one look at them. Its
   verdict is the one-sided 95 % bound of (convolution − adder) by Student's t, paired by seed.

All of it is sweeps and jobs of a service of its own in `--data`, under idempotency keys made of their specs: started
again, it goes on where it was interrupted. Rows go to results/study-NAME.jsonl, from the service's own records.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Final

from adderclient import Client
from adderclient.records import Trial
from addercore.analysis.statistics import mean_of, student_limit
from addercore.config import InvalidConfig, TrainConfig, merge
from benchmarks.rows import RESULTS, machine

PAIR: Final = ("adder", "conv")
"""Methods that every study has; the difference of these two is what the test images are looked at for."""
ONE_SIDED: Final = 0.95
PLANS: Final = Path(__file__).parent / "studies"
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a study compares; `settings` has by method and name what a setting changes in the dataset's recipe.

    Without a search each method has one setting, which another study has chosen.
    """

    name: str
    dataset: str
    holdout: float
    arch: str
    search: Mapping[str, Any] | None
    final: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """From a JSON file. `ValueError` where budgets differ, a seed is used by both stages, or a setting is none."""
        plan = cls(**json.loads(path.read_text(encoding="utf-8")))
        if not set(plan.settings) >= set(PAIR):
            raise ValueError(f"{path}: settings must have {' and '.join(PAIR)}, got {sorted(plan.settings)}")
        counts = {method: len(settings) for method, settings in plan.settings.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"{path}: each method must have as many settings as the other, got {counts}")
        if plan.search is None and set(counts.values()) != {1}:
            raise ValueError(f"{path}: without a search each method has one setting, got {counts}")
        if both := set((plan.search or {"seeds": ()})["seeds"]) & set(plan.final["seeds"]):
            raise ValueError(f"{path}: seeds {sorted(both)} would choose the settings and judge them; give others")
        for method, settings in plan.settings.items():
            for setting in settings:
                plan._check(path, method, setting)
        return plan

    def _check(self, path: Path, method: str, setting: str) -> None:
        """Raises `ValueError` where a setting makes no spec: now, and not when the study comes to it."""
        for stage in self.stages:
            try:
                TrainConfig.from_dict(self.spec(method, setting, stage))
            except InvalidConfig as error:
                raise ValueError(f"{path}: {method}, {setting!r}: {error}") from None

    @property
    def stages(self) -> tuple[str, ...]:
        return ("final",) if self.search is None else ("search", "final")

    @property
    def comparisons(self) -> int:
        """Settings that were compared before the one difference that is reported."""
        return sum(len(settings) for settings in self.settings.values())

    def spec(self, method: str, setting: str, stage: str) -> dict[str, Any]:
        """The training that a stage's sweep varies by its seed."""
        base = {
            "kind": "train",
            "model": {"arch": self.arch, "method": method},
            "dataset": {"name": self.dataset, "holdout": self.holdout},
            "epochs": getattr(self, stage)["epochs"],
            "labels": {"study": self.name, "stage": stage, "method": method},
        }
        return merge(base, self.settings[method][setting])

    def sweep(self, method: str, setting: str, stage: str) -> dict[str, Any]:
        """All seeds of a stage."""
        seeds = getattr(self, stage)["seeds"]
        return {"base": self.spec(method, setting, stage), "grid": {"seed": seeds}, "objective": "val/accuracy"}


@dataclass(frozen=True)
class Verdict:
    """convolution − adder on the test images, paired by seed; fractions."""

    mean: float
    bound: float  # the difference is smaller with 95 % confidence
    pairs: int

    def sentence(self, comparisons: int) -> str:
        """In percentage points, with what it was chosen from."""
        return (
            f"convolution − adder: {100 * self.mean:+.2f} points over {self.pairs} paired seeds, below "
            f"{100 * self.bound:+.2f} with {ONE_SIDED:.0%} confidence (Student's t, one-sided). One difference on the "
            f"test images, after {comparisons} settings were compared on held-out training images."
        )


def verdict(adder: Mapping[int, float], conv: Mapping[int, float]) -> Verdict:
    """Of accuracies by seed, at least two of which both have."""
    found = mean_of([conv[seed] - adder[seed] for seed in sorted(conv.keys() & adder.keys())])
    assert found.sd is not None
    limit = student_limit(found.n - 1, 2 * ONE_SIDED - 1)  # one-sided 95 % is the upper end of two-sided 90 %
    return Verdict(found.value, found.value + limit * found.sd / sqrt(found.n), found.n)


def key_of(document: object) -> str:
    """The idempotency key under which a document is submitted."""
    return "study-" + hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:40]


class Study:
    """A plan on a service."""

    def __init__(self, plan: Plan, client: Client) -> None:
        self.plan, self.client = plan, client
        self.rows: list[Row] = []

    def chosen(self) -> dict[str, str]:
        """Each method's best setting by the mean accuracy on its held-out images."""
        if self.plan.search is None:
            return {method: next(iter(settings)) for method, settings in self.plan.settings.items()}
        self.submit((method, name, "search") for method, settings in self.plan.settings.items() for name in settings)
        best: dict[str, str] = {}
        for method in self.plan.settings:
            means = {name: self._mean(method, name) for name in self.plan.settings[method]}
            best[method] = max(means, key=means.__getitem__)
            print(f"{method}: " + ", ".join(f"{name} {mean:.2%}" for name, mean in means.items()), flush=True)
            print(f"{method}: chosen on held-out images: {best[method]}", flush=True)
        return best

    def _mean(self, method: str, setting: str) -> float:
        values = [trial.value for trial in self.trials(method, setting, "search") if trial.value is not None]
        if not values:
            raise RuntimeError(f"no training of {method}, {setting} ended with an accuracy; its sweep says why")
        return mean_of(values).value

    def trials(self, method: str, setting: str, stage: str) -> list[Trial]:
        """Runs a stage's sweep of a setting, or finds that it has run; all its trials, which become rows."""
        (started,) = self.submit([(method, setting, stage)])
        self.client.sweeps.wait(started, progress=True)
        found = list(self.client.sweeps.trials(started))
        self.rows += [self._row(method, setting, stage, trial) for trial in found]
        return found

    def submit(self, wanted: Iterable[tuple[str, str, str]]) -> list[str]:
        """Sweeps by method, setting and stage, each of them once; their ids. All together leave no slot idle."""
        sweeps = [self.plan.sweep(*one) for one in wanted]
        return [self.client.sweeps.submit(sweep, idempotency_key=key_of(sweep)).id for sweep in sweeps]

    def _row(self, method: str, setting: str, stage: str, trial: Trial) -> Row:
        row = {"stage": stage, "method": method, "setting": setting, **trial.parameters, "status": trial.status}
        if trial.job_id is not None:
            job = self.client.jobs.get(trial.job_id)
            environment = job.raw.get("environment")
            row |= {"spec": job.spec, "result": job.result, "environment": environment, "seconds": trial.seconds}
        return row

    def look(self, finals: Mapping[str, list[Trial]]) -> Verdict:
        """Evaluates the final models on the test images, at which nothing has looked before."""
        found: dict[str, dict[int, float]] = {}
        for method in PAIR:
            trials = finals[method]
            jobs = {trial.parameters["seed"]: self._evaluation(trial) for trial in trials if trial.job_id}
            found[method] = {}
            for seed, spec in jobs.items():
                job = self.client.jobs.submit(spec, idempotency_key=key_of(spec))
                result = job.wait().result or {}
                if result.get("unseen") is not True:
                    raise RuntimeError(f"job {job.id}: the training of {spec['model_id']} had seen the test images")
                found[method][seed] = result["accuracy"]
                row = {"stage": "test", "method": method, "seed": seed, "spec": job.spec}
                told = {name: result[name] for name in ("accuracy", "loss", "images", "unseen")}
                self.rows.append(row | {"result": told})
        return verdict(found["adder"], found["conv"])

    def _evaluation(self, trial: Trial) -> dict[str, Any]:
        job = self.client.jobs.get(str(trial.job_id))
        return {
            "kind": "evaluate",
            "model_id": job.model_id,
            "dataset": {"name": self.plan.dataset},
            "split": "test",
            "labels": {"study": self.plan.name, "stage": "test"},
        }


def run(plan: Plan, client: Client, look: bool) -> list[Row]:
    """Does what of the plan has not been done; rows of all of it."""
    if look and len(plan.final["seeds"]) < 2:
        raise ValueError(f"{plan.name}: one seed has no spread, so that its difference on the test images has no bound")
    study = Study(plan, client)
    chosen = study.chosen()
    study.submit((method, setting, "final") for method, setting in chosen.items())
    finals = {method: study.trials(method, setting, "final") for method, setting in chosen.items()}
    for method, trials in finals.items():
        values = [trial.value for trial in trials if trial.value is not None]
        print(f"{method}: {mean_of(values).value:.2%} on held-out images, {len(values)} seed(s)", flush=True)
    if look:
        print("Looking at the test images, once.", flush=True)
        found = study.look(finals)
        words = found.sentence(plan.comparisons)
        print(words, flush=True)
        numbers = {"mean": found.mean, "bound": found.bound, "pairs": found.pairs}
        study.rows.append({"stage": "verdict", **numbers, "text": words})
    else:
        print("The test images have not been looked at; --look does that, once.", flush=True)
    return study.rows


def write(plan: Plan, rows: list[Row], folder: Path = RESULTS) -> Path:
    """Writes all rows anew, each with the processor, versions and commit of this run."""
    about = machine()
    about = {**about, "versions": {name: about["versions"][name] for name in ("python", "torch")}}
    path = folder / f"study-{plan.name}.jsonl"
    lines = (json.dumps({"study": plan.name, **row, **about}, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextmanager
def service(data: Path, dataset: str) -> Iterator[str]:
    """`adder up` in `data`, with the dataset's files; yields its address, and stops it in the end."""
    adder = [sys.executable, "-c", "from adderclient.command import main; main()"]
    data.mkdir(parents=True, exist_ok=True)
    if dataset != "digits":
        subprocess.run([*adder, "datasets", "fetch", dataset, "--data", str(data)], check=True)
    with subprocess.Popen([*adder, "up", "--port", "0", "--data", str(data)], stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            for line in up.stdout:
                if "is ready at " in line:
                    yield line.rpartition("is ready at ")[2].split()[0]
                    return
            raise RuntimeError(f"the service in {data} did not start; it says why above")
        finally:
            up.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help=f"a JSON file; {', '.join(path.name for path in PLANS.glob('*.json'))}")
    parser.add_argument("--look", action="store_true", help="evaluate the final models on the test images, once")
    parser.add_argument("--data", type=Path, default=Path("study-data"), help="the service's folder (study-data)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows")
    options = parser.parse_args()
    plan = Plan.read(options.plan)
    with service(options.data.absolute(), plan.dataset) as url, Client(url) as client:
        print(write(plan, run(plan, client, options.look), options.results))


if __name__ == "__main__":
    main()
