"""`python -m benchmarks.paper OUT [--dataset NAME]`: a page of docs/ and its pictures from what analyses left in OUT.

The numbers come from `python -m addercore.analysis all --out OUT --device cpu --threads 1` (about half an hour on one
core), or from jobs (`adder download JOB -o OUT/RECIPE`); this only puts them on a page, in the order of the catalogue.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from addercore.config import RECIPES

DOCS: Final = Path(__file__).parent.parent / "docs"
VERDICTS: Final = {True: "holds", False: "does not hold", None: "in part, or open"}
HEAD: Final = """# The paper's tables and figures, on digits

What every recipe gives by default on scikit-learn's handwritten digits ([datasets.md](datasets.md)); `adder submit
--recipe NAME` gives the same as a job. What each computes, and by which rule its verdict: [analyses.md](analyses.md).
The full-size ones are the same specs with another dataset (`--dataset cifar10`). This page was written by

<!-- not run: trains for an hour -->
```sh
python -m addercore.analysis all --out OUT --device cpu --threads 1
python -m benchmarks.paper OUT
```

The trainings ran on two shared cores of an AMD EPYC (Zen 4, AVX-512). Another instruction set changes the last bits of
a training, and so single accuracies by an image or two; the rule of each verdict does not change.

Since then 2×2 max pooling has become part of the call of an adder layer and its normalisation
([kernels.md](kernels.md#pooling-in-training)), which changes the last bits of LeNet-5-BN's gradients and so single
accuracies: the adder network's five seeds of `mnist` now give 96.0 ± 0.5 % (96.4 ± 0.4 below). Over 17 seeds the mean
is 96.0 % with and without it. The tables from `mnist` to `distillation` have not been computed anew.

Digits are small: with 360 images to validate on, one image is 0.28 points. A statement that does not hold here does not
hold of digits, of these networks and of so many seeds. Two rules were changed after a first result was seen: Figure 1's
verdict got its middle ("in part"), and distillation its better teacher and its 15 seeds ([how](distillation.md)).
"""


CLOTHES: Final = """# The paper's tables and figures, on Fashion-MNIST

Recipes of [results.md](results.md) on 60,000 pictures of clothes ([fashion-mnist.md](fashion-mnist.md)): 54,000 to
train on, ten epochs, validated by 6,000 that are held out of the training images (`dataset.holdout: 0.1`). What each
computes, and by which rule its verdict: [analyses.md](analyses.md). They were jobs of the service, and this page was
written from what they made:

<!-- not run: needs the data set's files, and trains for an hour -->
```sh
JOB=$(adder submit --recipe figure3 --set dataset.name=fashion_mnist --set dataset.holdout=0.1 --set epochs=10)
adder download $JOB -o OUT/figure3
python -m benchmarks.paper OUT --dataset fashion_mnist
```

The trainings ran on two shared cores of an AMD EPYC (Zen 4, AVX-512), by the data set's recipe, `crop_flip` included:
ten epochs of it leave the adder network two and a half points behind, and without augmentation it is less
([how far apart](fashion-mnist.md#how-far-apart-they-are)).
"""


@dataclass(frozen=True)
class Page:
    """A page of the results on one dataset, with the folder of its pictures, both in docs/."""

    name: str
    pictures: str
    head: str
    recipes: tuple[str, ...]


PAGES: Final = {
    "digits": Page("results.md", "results", HEAD, tuple(RECIPES)),
    "fashion_mnist": Page(
        "results-fashion-mnist.md",
        "results/fashion-mnist",
        CLOTHES,
        ("mnist", "table1", "table4", "figure1", "figure3", "figure4", "variance"),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the analyses")
    parser.add_argument("--dataset", choices=PAGES, default="digits", help="whose page (%(default)s)")
    options = parser.parse_args()
    folder, page = options.out, PAGES[options.dataset]
    missing = [name for name in page.recipes if not (folder / name / "result.json").is_file()]
    if missing:
        print(f"{folder} lacks {', '.join(missing)}: run python -m addercore.analysis first", file=sys.stderr)
        return 2
    pictures = DOCS / page.pictures
    pictures.mkdir(exist_ok=True)
    results = {name: json.loads((folder / name / "result.json").read_text()) for name in page.recipes}
    parts = [page.head, overview(folder, results)]
    for name, result in results.items():
        shutil.copyfile(folder / name / "figure.png", pictures / f"{name}.png")
        parts.append(section(name, result, (folder / name / "table.md").read_text(), page.pictures))
    (DOCS / page.name).write_text("\n".join(parts))
    return 0


def overview(folder: Path, results: dict[str, dict[str, Any]]) -> str:
    """A row for each recipe: what it repeats, and whether the paper's statement holds here."""
    lines = ["| recipe | repeats | the paper's statement | trainings | seconds |", "|---|---|---|---:|---:|"]
    for name, result in results.items():
        took = json.loads((folder / name / "summary.json").read_text())
        cells = f"{took['trainings']} | {took['seconds']:.0f}"
        lines.append(f"| [`{name}`](#{name}) | {result['reference']} | {VERDICTS[result['holds']]} | {cells} |")
    ran = {f"{r['environment']['backend']}, torch {r['environment']['torch']}" for r in results.values()}
    commits = sorted({str(r["environment"]["commit"])[:10] for r in results.values()})
    return "\n".join([*lines, "", f"({'; '.join(sorted(ran))}; commit {', '.join(commits)}.)", ""])


def section(name: str, result: dict[str, Any], table: str, pictures: str) -> str:
    """One recipe's table, verdict and picture."""
    _, _, body = table.partition("\n")  # its own heading
    return f"## {name}\n\n{result['title']}.\n{body.rstrip()}\n\n![{result['title']}]({pictures}/{name}.png)\n"


if __name__ == "__main__":
    sys.exit(main())
