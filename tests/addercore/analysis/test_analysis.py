"""`analyze`: every recipe on small settings, controls that change verdicts, exact resume, runs that diverge."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from addercore import AnalyzeConfig, AnalyzeResult, CheckpointError, analyze, build, fit
from addercore.analysis.__main__ import main as command
from addercore.config import TrainConfig
from addercore.io import encode, manifest_of

pytestmark = pytest.mark.bits

FILES = ("result.json", "table.md", "table.csv", "summary.json", "figure.png")
NOT_TRAINED = ("table1", "variance", "latency")


def run(folder: Path, recipe: str, model: Path | None = None, **options: Any) -> AnalyzeResult:
    """One seed, one epoch, unless `options` say otherwise; others than fields of the spec go to `analyze`."""
    passed = {key: options.pop(key) for key in ("callbacks", "resume_from") if key in options}
    spec: dict[str, Any] = {"recipe": recipe, "seeds": [0], **options}
    if recipe not in NOT_TRAINED and model is None:
        spec.setdefault("epochs", 1)
    config = AnalyzeConfig.from_dict(spec)
    return analyze(config, workdir=folder, device="cpu", threads=1, model=model, **passed)


def outcome(folder: Path) -> dict[str, Any]:
    """result.json but for the commit, which a developer's checkout may change meanwhile."""
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    del content["environment"]["commit"]
    return content


def check_files(result: AnalyzeResult, folder: Path) -> None:
    assert [artifact.path for artifact in result.artifacts] == [folder / name for name in FILES]
    full = json.loads((folder / "result.json").read_text())
    assert {key: full[key] for key in result.result} == json.loads(json.dumps(result.result))
    assert full["environment"]["device"] == "cpu"
    markdown = (folder / "table.md").read_text()
    assert result.result["verdict"] in markdown
    assert result.result["caption"] in markdown
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert len(rows) == len(result.result["cells"]) == len(result.result["rows"]) > 0
    assert all(len(cells) == len(result.result["columns"]) for cells in result.result["cells"])
    with Image.open(folder / "figure.png") as picture:
        assert min(picture.size) > 250
        assert len(set(picture.convert("L").resize((64, 64)).get_flattened_data())) > 5, "an empty picture"
    assert not list((folder / "runs").glob("*")), "the trainings' own files are gone"


SMALL: dict[str, dict[str, Any]] = {
    "mnist": {"methods": ["conv", "adder"]},
    "table1": {},
    "table2": {"archs": ["lenet5_bn"], "methods": ["bnn", "adder"]},
    "table3": {"archs": ["lenet5_bn"], "methods": ["adder"]},
    "table4": {"etas": [0.1, 0.5]},
    "xnor_table": {"methods": ["conv", "xnor"]},
    "figure1": {},
    "figure2": {},
    "figure3": {},
    "figure4": {},
    "variance": {},
    "distillation": {},
    "successors": {},
    "integer": {},
    "latency": {"archs": ["lenet5_bn"]},
}


def long(*values: Any) -> Any:
    """A case that trains several networks."""
    return pytest.param(*values, marks=pytest.mark.long("trains networks"))


@pytest.mark.filterwarnings("ignore:the float model takes all calibration images for one class")  # so short it learns
@pytest.mark.parametrize("recipe", [recipe if recipe in ("mnist", "table1") else long(recipe) for recipe in SMALL])
def test_every_recipe_gives_its_files(tmp_path: Path, recorder: Any, recipe: str) -> None:
    seen = recorder()
    result = run(tmp_path, recipe, callbacks=seen, **SMALL[recipe])
    assert not result.stopped
    check_files(result, tmp_path)
    check_numbers(recipe, result.result["rows"])
    assert (seen.progress[-1].fraction, seen.environment["threads"]) == (1.0, 1)
    if recipe in NOT_TRAINED:
        assert seen.points == []
        return
    steps = [point.step for point in seen.points]
    assert steps == sorted(steps)
    assert len({(p.name, p.step) for p in seen.points}) == len(seen.points)
    names = {run["name"] for run in json.loads((tmp_path / "result.json").read_text())["runs"]} - {"times"}
    assert {point.name.split("/")[0] for point in seen.points} == names
    assert max(len(point.name) for point in seen.points) <= 100
    assert seen.progress[-1].step == seen.progress[-1].steps == steps[-1]


def check_numbers(recipe: str, rows: list[dict[str, Any]]) -> None:
    """What only this recipe has."""
    if recipe == "table3":
        assert rows[0]["accuracy"] < rows[0]["top5"] <= 1
    if recipe == "xnor_table":  # the stem's 117,600 and the classifier's 840 multiply-accumulates stay as they are
        ends, whole = 117_600 + 840, 416_520
        assert (rows[0]["memory_saving"], rows[0]["compute_saving"]) == (1.0, 1.0)
        assert rows[1]["compute_saving"] == pytest.approx(2 * whole / (2 * ends + 2 * (whole - ends) / 64))


def test_stopped_inside_and_between_trainings_it_ends_the_same(tmp_path: Path, recorder: Any) -> None:
    options: dict[str, Any] = {"epochs": 2, "checkpoint": {"every_epochs": None, "every_seconds": None}}
    whole = recorder()
    run(tmp_path / "whole", "figure4", callbacks=whole, **options)
    asked = whole.asked
    folder, seen, at = tmp_path / "parts", [], None
    for stop_at in (asked // 5, asked // 3, 1, asked // 5, None):  # in the first training, at its end, in the second
        one = recorder(stop_at=stop_at)
        result = run(folder, "figure4", callbacks=one, resume_from=at, **options)
        seen.append(one)
        assert result.stopped is (stop_at is not None)
        if result.stopped:
            assert (result.result, result.artifacts) == ({}, [])
            at = one.checkpoints[-1][0] if len(seen) % 2 else folder / "checkpoints"
    rows = [{key: v for key, v in r.rows().items() if "images_per_second" not in key[0]} for r in (whole, *seen)]
    union: dict[Any, Any] = {}
    for part in rows[1:]:
        assert part.items() <= rows[0].items()
        union |= part
    assert union == rows[0]
    assert sum(len(one.points) for one in seen) == len(whole.points), "nothing is computed twice"
    assert outcome(folder) == outcome(tmp_path / "whole")
    for name in ("table.md", "table.csv", "figure.png"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    runs = {name.split("/")[0] for name, _ in rows[-1]}
    assert "adder-0" not in runs, "what was finished is not trained again"


@pytest.mark.long("trains four networks")
def test_a_stop_between_teacher_and_student_keeps_the_teacher(tmp_path: Path, recorder: Any) -> None:
    whole = recorder()
    run(tmp_path / "whole", "distillation", callbacks=whole)
    first = recorder(stop_at=2 * whole.asked // 3 + 3)  # in the third training, the student's
    stopped = run(tmp_path / "parts", "distillation", callbacks=first)
    assert stopped.stopped
    assert {p.name.split("/")[0] for p in first.points} >= {"twin-0", "plain-0"}
    run(tmp_path / "parts", "distillation", resume_from=tmp_path / "parts/checkpoints")
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    assert (tmp_path / "parts/figure.png").read_bytes() == (tmp_path / "whole/figure.png").read_bytes()


def test_checkpoints_of_others_are_refused(tmp_path: Path, recorder: Any, config: Any) -> None:
    run(tmp_path / "mine", "figure2", callbacks=recorder(stop_at=3))
    with pytest.raises(CheckpointError, match="of another analysis: seeds differ"):
        run(tmp_path / "other", "figure2", seeds=[1], resume_from=tmp_path / "mine/checkpoints")
    fit(config(epochs=1), workdir=tmp_path / "fit", device="cpu", threads=1, callbacks=recorder(stop_at=1))
    with pytest.raises(CheckpointError, match="not of an analysis"):
        run(tmp_path / "third", "figure2", resume_from=tmp_path / "fit/checkpoints")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        run(tmp_path / "fourth", "figure2", resume_from=tmp_path)


def test_a_training_that_diverges_is_a_row_that_says_so(tmp_path: Path, recorder: Any) -> None:
    seen = recorder()
    result = run(tmp_path, "table4", etas=[1e38, 0.1], callbacks=seen)
    check_files(result, tmp_path)
    lost, good = result.result["rows"]
    assert (lost["accuracy"], lost["note"]) == (None, "diverged with 1 of 1 seeds")
    assert (good["accuracy"] > 0, good["note"]) == (True, None)
    assert [event for event in seen.events if event[0] == "run_diverged"]
    assert seen.progress[-1].fraction == 1.0


@pytest.mark.parametrize(
    ("recipe", "control", "options", "without"),
    [
        long("mnist", "permuted_labels", {"methods": ["conv", "adder"], "epochs": 2}, "Nothing has learnt"),
        long("figure1", "permuted_labels", {"methods": ["conv"], "epochs": 3}, "no better than guessing"),
        long("figure4", "permuted_weights", {"methods": ["conv"]}, "not as in the paper"),
        ("table1", "permuted_weights", {}, "not in every layer"),
        long("variance", "permuted_weights", {"methods": ["adder"]}, "does not hold"),
    ],
)
def test_controls_change_the_verdict(
    tmp_path: Path, recipe: str, control: str, options: dict[str, Any], without: str
) -> None:
    real = run(tmp_path / "real", recipe, **options).result
    shuffled = run(tmp_path / "control", recipe, control=control, **options).result
    assert without not in real["verdict"]
    assert without in shuffled["verdict"]
    assert shuffled["holds"] is False
    assert "ontrol" in shuffled["caption"]


def stored_model(folder: Path, stripes: bool = False) -> Path:
    """An adder network as initialised, or one whose first filters are stripes."""
    config = TrainConfig.default("lenet5_bn", "digits")
    module = build(config.network(), seed=0)
    if stripes:
        with torch.no_grad():
            module.conv1.weight.copy_(torch.arange(5.0).expand(6, 1, 5, 5))  # type: ignore[union-attr,operator]
    path = folder / "model.safetensors"
    path.write_bytes(encode(module.state_dict(), manifest_of(config, {})))
    return path


@pytest.mark.parametrize("recipe", ["figure2", "figure4", "variance"])
def test_a_given_model_is_looked_at_without_training(tmp_path: Path, recorder: Any, recipe: str) -> None:
    seen = recorder()
    result = run(tmp_path / "out", recipe, stored_model(tmp_path), callbacks=seen, model_id="model_1")
    check_files(result, tmp_path / "out")
    assert seen.points == []
    assert "model_1" in result.result["caption"]


def test_the_verdict_on_filters_follows_the_filters(tmp_path: Path) -> None:
    noise = run(tmp_path / "a", "figure2", stored_model(tmp_path), model_id="model_1").result
    stripes = run(tmp_path / "b", "figure2", stored_model(tmp_path, stripes=True), model_id="model_1").result
    shuffled = run(
        tmp_path / "c", "figure2", stored_model(tmp_path, True), model_id="model_1", control="permuted_weights"
    ).result
    assert [result["holds"] for result in (noise, stripes, shuffled)] == [False, True, False]


def test_model_and_configuration_belong_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no model; got model="):
        run(tmp_path, "figure4", stored_model(tmp_path))
    with pytest.raises(ValueError, match="is about model 'model_1': pass its file"):
        run(tmp_path, "figure4", model_id="model_1")


def test_recipes_run_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "table1",
        "variance",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--set",
        "seeds=[3]",
    ]
    assert command(arguments) == 0
    assert capsys.readouterr().out.count("**Verdict.**") == 2
    assert json.loads((tmp_path / "table1/result.json").read_text())["config"]["seeds"] == [3]
    with pytest.raises(SystemExit):
        command(["table4", "--out", str(tmp_path), "--set", 'methods=["adder"]'])
    assert "methods is no option of recipe table4" in capsys.readouterr().err
    assert command(["table4", "--out", str(tmp_path), "--dataset", "mnist"]) == 1
    assert "mnist" in capsys.readouterr().err
