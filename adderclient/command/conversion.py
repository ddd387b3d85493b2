"""Files of the paper's own code become model files, by a program of `addercore` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from adderclient.command.errors import CommandError
from adderclient.command.extras import need


def converted(source: Path, folder: Path, dataset: str | None) -> Path:
    """The model file of a state dictionary that the paper's code stored.

    Raises:
        CommandError: the file is none, or what converts it is not installed here.
    """
    need("core", "--from-authors converts the file on this machine")
    target = folder / "model.safetensors"
    named = [] if dataset is None else ["--dataset", dataset]
    # -P: a folder named addercore/ in the current directory is not ours.
    command = [sys.executable, "-P", "-m", "addercore.authors", str(source), str(target), *named]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().rsplit("\n", 1)[-1]
        raise CommandError(said or f"{source} could not be converted: the program ended with {done.returncode}")
    return target
