"""`python -m addercore.data fetch cifar10 --data DIR [--from FOLDER]` brings a published dataset into a data folder."""

import argparse
import sys
from pathlib import Path

from addercore.config import DATASETS
from addercore.data.fetch import fetch
from addercore.data.published import DOWNLOADS
from addercore.errors import BadData

FAILED = 4  # exit status, as that of the `adder` command for what cannot be reached


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m addercore.data", description=__doc__)
    commands = parser.add_subparsers(required=True)
    part = commands.add_parser("fetch", help="download a dataset, or take it from a folder, and check it")
    part.add_argument("dataset", choices=sorted(DATASETS))
    part.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder of the dataset's name is in it")
    part.add_argument("--from", type=Path, dest="folder", metavar="FOLDER", help="where the files are; no download")
    options = parser.parse_args(arguments)
    info = DATASETS[options.dataset]
    try:
        fetch(info, DOWNLOADS.get(info.name, ()), options.data, options.folder)
    except (BadData, OSError) as error:
        print(f"{info.name}: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
