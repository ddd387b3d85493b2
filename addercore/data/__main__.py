"""`python -m addercore.data fetch cifar10 --data DIR [--from FOLDER]` brings a published dataset into a data folder."""

import argparse
import difflib
import sys
from pathlib import Path

from addercore.config import DATASETS
from addercore.data.copies import machine_folders
from addercore.data.fetch import fetch
from addercore.data.published import DOWNLOADS
from addercore.errors import BadData

UNKNOWN = 2  # exit status, as for other arguments that are none
FAILED = 4  # exit status, as that of the `adder` command for what cannot be reached


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m addercore.data", description=__doc__)
    commands = parser.add_subparsers(required=True)
    part = commands.add_parser(
        "fetch", help="copy a dataset from this machine or a folder, or download it, and check it"
    )
    part.add_argument("dataset", metavar="DATASET", help=", ".join(sorted(DATASETS)))
    part.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder of the dataset's name is in it")
    part.add_argument("--from", type=Path, dest="folder", metavar="FOLDER", help="where the files are; no download")
    options = parser.parse_args(arguments)
    info = DATASETS.get(options.dataset)
    if info is None:
        near = difflib.get_close_matches(options.dataset, DATASETS, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(sorted(DATASETS))
        print(f"There is no published dataset {options.dataset[:60]!r}; there are {known}.{meant}", file=sys.stderr)
        return UNKNOWN
    try:
        fetch(info, DOWNLOADS.get(info.name, ()), options.data, options.folder, elsewhere=machine_folders())
    except (BadData, OSError) as error:
        print(f"{info.name}: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
