"""`python -m adderclient.make_sync`: writes `adderclient/_sync/` from `adderclient/_async/`.

The blocking client and the asynchronous one have one source. `unasync` drops `async` and `await` from its tokens and
replaces names; ruff formats what is left. With `--check` it writes nothing and fails where `_sync/` is not in step.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = Path(__file__).parent
SOURCE, TARGET = PACKAGE / "_async", PACKAGE / "_sync"
HEAD = "# Made from adderclient/_async/{name} by `python -m adderclient.make_sync`: change that file, not this one.\n"
TWINS = {
    "_async": "_sync",
    "anyio": "time",  # anyio.sleep
    "aclose": "close",
    "aread": "read",
    "aiter_lines": "iter_lines",
    "aiter_raw": "iter_raw",
    "Awaitable": "Immediate",
    "async_in_thread": "in_thread",
}
"""Names of the asynchronous source, and what stands for them where everything blocks; `Async…` loses its prefix."""
INIT = '''"""The client that blocks, made from `_async/` by `python -m adderclient.make_sync`."""
'''


def made() -> dict[str, str]:
    """The files of `_sync/` as they must be, by their names."""
    import unasync

    sources = sorted(path for path in SOURCE.glob("*.py") if path.name != "__init__.py")
    classes = {name for path in sources for name in re.findall(r"\bAsync[A-Z]\w*", path.read_text(encoding="utf-8"))}
    names = TWINS | {name: name.removeprefix("Async") for name in classes if not name.startswith("AsyncIter")}
    found = {"__init__.py": INIT}
    with TemporaryDirectory() as folder:
        into = Path(folder) / "adderclient" / "_sync"
        rule = unasync.Rule(f"{SOURCE}/", f"{into}/", additional_replacements=names)
        unasync.unasync_files([str(path) for path in sources], [rule])
        for path in into.glob("*.py"):
            path.write_text(HEAD.format(name=path.name) + path.read_text(encoding="utf-8"), encoding="utf-8")
        for step in (["check", "--fix", "--select", "I", "--quiet"], ["format", "--quiet"]):
            ours = "lint.isort.known-first-party=['adderclient']"
            config = ["--config", str(PACKAGE.parent / "pyproject.toml"), "--config", ours, "--no-cache"]
            subprocess.run([sys.executable, "-m", "ruff", *step, *config, str(into)], check=True)
        found |= {path.name: path.read_text(encoding="utf-8") for path in into.glob("*.py")}
    return found


def out_of_step() -> list[str]:
    """Names of files in `_sync/` that are not what `_async/` makes of them, that lack, or that are too many."""
    wanted = made()
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.py")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Writes the files, or with `--check` names those that differ. Returns the exit code."""
    if arguments == ["--check"]:
        for name in (wrong := out_of_step()):
            print(f"adderclient/_sync/{name} is not in step with _async/: run `python -m adderclient.make_sync`")
        return 1 if wrong else 0
    wanted = made()
    TARGET.mkdir(exist_ok=True)
    for path in TARGET.glob("*.py"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
