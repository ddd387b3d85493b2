"""`python -m addercore.sample digits 3 out.png`: one validation image of a dataset as a file, to predict it."""

import argparse
from pathlib import Path

from addercore.config import DATASETS
from addercore.data import SPLITS, sample_image


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m addercore.sample", description=__doc__)
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("index", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--split", choices=SPLITS, default="validation")
    parser.add_argument("--data-dir", type=Path, help="folder of the dataset's files, where it needs any")
    options = parser.parse_args(arguments)
    sample_image(options.dataset, options.index, options.split, options.data_dir).save(options.output)


if __name__ == "__main__":
    main()
