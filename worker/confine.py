"""A job's process restricts itself to its work folder, before it reads anything of the job (`worker.landlock`)."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from addercore.version import commit
from worker import capabilities, landlock

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
"""Programs and libraries."""
READABLE = (
    "/proc", "/sys", "/dev/urandom", "/dev/random", "/dev/zero",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives",
    "/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts",
    "/etc/host.conf", "/etc/gai.conf", "/etc/resolv.conf", "/etc/fonts", "/etc/mime.types", "/etc/OpenCL",
    "/etc/nvidia",
)  # fmt: skip
"""Further files that libraries read. Of /etc no folder as a whole: passwords and keys lie there. Landlock itself keeps
memory, environment and descriptors of other processes in /proc closed."""
FONTS = ("~/.cache/matplotlib", "~/.config/matplotlib", "~/.fonts", "~/.local/share/fonts")
DEVICES = ("null", "zero", "full", "nvidia*", "nvidia-caps", "dri", "kfd", "dxg")
"""In /dev: what may be written to and controlled."""
PACKAGES = ("addercore", "jobs", "worker")
TEMPORARY = "tmp"
"""Folder in the work folder for temporary files."""
CACHES = {"TRITON_CACHE_DIR": "triton", "CUDA_CACHE_PATH": "cuda", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
"""Compiled code is kept per job: in a folder that jobs share, one could leave code that another one runs."""


def confine(workdir: Path, datasets: Path, data_dir: Path, readable: Sequence[Path], *, network: bool) -> None:
    """Restricts this process, which has one thread, to its work folder by Landlock. Temporary files go there too.

    Args:
        workdir: may be written to.
        datasets: may be read, with the folders that links in it lead to.
        data_dir: nothing else in it may be read, wherever it lies.
        readable: further folders that may be read.
        network: whether TCP stays open, as several processes of one job need it among themselves.

    Raises:
        OSError: the kernel refuses it.
    """
    read = [Path(name) for name in READABLE] + [Path(name).expanduser() for name in FONTS] + list(readable)
    if folder := os.environ.get("MPLCONFIGDIR"):
        read.append(Path(folder))
    rules = [(path, landlock.RUN) for path in landlock.outside(_programs(), data_dir)]
    rules += [(path, landlock.READ) for path in landlock.outside(read, data_dir)]
    rules += [(path, landlock.READ) for path in (datasets, *(target for _, target in _links(datasets)))]
    rules += [(path, landlock.DEVICE) for name in DEVICES for path in Path("/dev").glob(name)]
    rules += [(path, landlock.WRITE) for path in (workdir, Path("/dev/shm"))]
    _use_own_folder(workdir / TEMPORARY)
    if stated := commit():  # of a checkout, whose repository it can no longer ask
        os.environ["ADDER_COMMIT"] = stated
    capabilities.keep()  # root could look into other processes in spite of Landlock
    landlock.restrict(rules, network=network)


def _programs() -> list[Path]:
    """Folders of the interpreter and of all that it imports."""
    named = [*SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()]
    named += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    specs = [find_spec(name) for name in PACKAGES]
    own = [folder for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]
    # The current folder is on the path of `python -m` whatever lies in it.
    asked = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    imported = [entry for entry in sys.path if entry and (entry in asked or entry != os.getcwd())]
    named += [
        target for entry in imported if not _installed_by_the_system(entry) for target in _packages_elsewhere(entry)
    ]
    found = dict.fromkeys(Path(name).resolve() for name in [*named, *own, *imported] if name)
    return [path for path in found if path != Path("/")]


def _installed_by_the_system(entry: str) -> bool:
    return any(Path(entry).is_relative_to(folder) for folder in SYSTEM)


def _packages_elsewhere(entry: str) -> list[str]:
    """Where packages of an entry of sys.path lie that are links, or whose files are (`uv pip install --link-mode
    symlink`): the folders of those files, as a module that is imported later is a link too."""
    return [
        str(target.parent if link.parent != Path(entry) and target.is_file() else target)
        for link, target in _links(Path(entry))
    ]


def _links(folder: Path) -> list[tuple[Path, Path]]:
    """The links in a folder and in the folders in it, and where each leads."""
    found = []
    for outer in _entries(folder):
        inside = [outer, *(_entries(Path(outer.path)) if outer.is_dir() else ())]
        found += [(Path(one.path), Path(one.path).resolve()) for one in inside if one.is_symlink()]
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []


def _use_own_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    for variable, name in CACHES.items():
        os.environ[variable] = str(folder / name)
