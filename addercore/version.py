"""The installed version, which models and environments record, and the commit that it comes from."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

__version__ = version("adderworks")


def commit() -> str | None:
    """Commit of the checkout that this package is imported from, or what ADDER_COMMIT says of an image.

    Returns:
        None for a package that is installed from neither.
    """
    if stated := os.environ.get("ADDER_COMMIT"):
        return stated
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "--", str(Path(__file__).name)]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=5)  # not tracked: some other repository
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, check=True, timeout=5, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
