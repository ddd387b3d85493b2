"""What holds a job's process back: another user than the worker's, Landlock, or nothing. docs/threat-model.md compares.

The worker decides, starts the process under the other user, and tells it in its orders whether to restrict itself by
Landlock (`worker.confine`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobs.errors import JobsError
from jobs.files import remove_tree
from jobs.settings import CHILD, Settings
from worker import landlock

Kind = Literal["none", "landlock", "user", "user+landlock"]

GROUP_MASK = 0o007
"""umask of a process under another user: the worker, which is in its group, copies and removes what it leaves."""


@dataclass(frozen=True)
class Isolation:
    """What holds the jobs of a worker back."""

    kind: Kind
    note: str
    """The version of Landlock and the user, or why there is none."""
    user: int | None = None
    group: int | None = None

    @property
    def landlock(self) -> bool:
        return self.kind.endswith("landlock")

    @classmethod
    def of(cls, settings: Settings) -> Isolation:
        """What the settings ask for and the system offers.

        Raises:
            JobsError: they ask for a user that this process may not become, or for what the kernel lacks.
        """
        user, group = settings.child_uid, settings.child_gid
        if user is not None:
            _require_user(user)
        version, reason = landlock.abi()
        if settings.child_isolation == "none":
            version, reason = 0, "ADDER_CHILD_ISOLATION is none"
        elif tuple(settings.child_command) != CHILD:
            version, reason = 0, "ADDER_CHILD_COMMAND names a program that restricts itself, or does not"
        said = [f"user {user}"] if user is not None else []
        said += [f"Landlock {version}" if version else reason]
        kinds: dict[tuple[bool, bool], Kind] = {
            (False, False): "none",
            (False, True): "landlock",
            (True, False): "user",
            (True, True): "user+landlock",
        }
        kind = kinds[user is not None, version > 0]
        if settings.child_isolation == "required" and kind == "none":
            raise JobsError(f"ADDER_CHILD_ISOLATION is required, but there is none: {reason}")
        return cls(kind, ", ".join(said), user, group if group is not None else user)

    def prepare(self, data_dir: Path) -> None:
        """Lets the other user pass through the data folder to its work folders, list nothing on the way, and enter no
        store."""
        if self.user is not None:
            for folder in (data_dir, data_dir / "work"):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o711)
            for folder in (data_dir / name for name in ("artifacts", "incoming")):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)

    def hand_over(self, folder: Path) -> None:
        """Gives a work folder, with what the worker has put into it, to the group of the other user."""
        if self.user is None or self.group is None:
            return
        folder.parent.chmod(0o711)
        for path in (*folder.rglob("*"), folder):
            os.chown(path, -1, self.group, follow_symlinks=False)
            path.chmod(0o2770 if path.is_dir() else 0o640)

    def remove(self, folder: Path) -> None:
        """Removes the work folder of an attempt or of a job. What the other user has closed to its group, that user
        itself removes."""
        remove_tree(folder)
        if self.user is None:
            return
        with suppress(OSError):  # it is gone, as a rule
            left = [str(folder), *map(str, folder.iterdir())]  # the other user may not list the folder of a job
            subprocess.run(["rm", "-rf", "--", *left], **self.credentials(), check=False, capture_output=True)
            remove_tree(folder)

    def credentials(self) -> dict[str, Any]:
        """Arguments of `subprocess.Popen` that start a program under the other user."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": [], "umask": GROUP_MASK}


def _require_user(user: int) -> None:
    try:
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], user=user, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise JobsError(
            f"ADDER_CHILD_UID is {user}, and this worker cannot start a program as that user ({error}). It needs the "
            "capabilities SETUID, SETGID and KILL: start it as root with ADDER_WORKER_UID, or set no ADDER_CHILD_UID."
        ) from None
