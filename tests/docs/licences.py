"""`python -m tests.docs.licences`: writes docs/licences.md, the licences of everything that is installed beside us.

It reads constraints.txt and what the installed packages say of themselves. `make docs` compares the page, and refuses a
licence that is not allowed here.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "licences.md"
FREE = {
    *("MIT", "MIT-0", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib", "BSL-1.0", "CC0-1.0"),
    *("Apache-2.0", "Apache-2.0 WITH LLVM-exception", "PSF-2.0", "Public domain"),
}
"""Allowed everywhere: they ask for their notice and no more."""
BY_FILE = {"MPL-2.0", "LGPL-3.0-only"}
"""Allowed everywhere: they bind their own files, or want to be replaceable, which a Python package is."""
OF_TOOLS = {"GPL-3.0-or-later"}
"""Allowed for what only tests and releases start as a program of its own; nothing of it is shipped."""
SPELT = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd license": "BSD",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "public domain": "Public domain",
}
"""How packages spell licences that have an identifier. BSD alone leaves open how many clauses it has."""
EXTRAS = ("client", "core", "runtime", "runtime-image", "onnx", "server", "tensorboard", "mlflow", "dev")
"""Of pyproject.toml, the smaller first; `client` is what the package brings without an extra."""
HEAD = """\
# Licences of what is installed

Every package of `constraints.txt`, which `make setup` installs, with the licence that it states and the extras
([installing.md](installing.md)) that bring it; `client` is the package without an extra. Made by `python -m
tests.docs.licences`; `make docs` compares it, and refuses a licence that is not allowed.

- Allowed everywhere: {free}. They ask for their notice to be kept.
- Also {by_file}: they bind changes to their own files, and not what imports them.
- For `dev` alone: {tools}. Such a program is started by tests and releases, and nothing of it is in a wheel.

"BSD" is what a package says that does not tell how many clauses it means. An entry with OR leaves the choice to you.
PyTorch's default build for Linux also installs NVIDIA's CUDA libraries under NVIDIA's own terms; its build for
processors does not. The image's system packages are Debian's, whose licences are in `/usr/share/doc` of the image.

| package | version | licence | brought by |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Package:
    """A line of constraints.txt."""

    name: str
    version: str
    licence: str
    """An expression of SPDX identifiers; empty where it states none that is known."""
    extras: tuple[str, ...]


def packages() -> list[Package]:
    """All of constraints.txt. Raises `PackageNotFoundError` for one that is not installed."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return [Package(name, version, licence_of(name), extras_of(canonicalize_name(name))) for name, version in pairs]


def licence_of(name: str) -> str:
    """What the installed package states: its expression, its short text, its classifiers, or how its file begins."""
    about = metadata(name)
    if expression := about["License-Expression"]:
        return str(expression)
    text = (about["License"] or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    if identifier := _identifier(first):
        return identifier
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License")
    ]
    return " OR ".join(found for one in classifiers if (found := _identifier(one))) or _by_file(name)


def _by_file(name: str) -> str:
    """By the first lines of the licence files that the package brings."""
    files = [path for path in distribution(name).files or () if "licenses" in path.parts]
    first = (Path(str(path.locate())).read_text(encoding="utf-8").strip().splitlines()[0] for path in files)
    return " AND ".join(found for one in first if (found := _identifier(one)))


def _identifier(text: str) -> str:
    known = FREE | BY_FILE | OF_TOOLS
    if text in known or (re.search(r" (AND|OR) ", text) and set(re.split(r" (?:AND|OR) ", text)) <= known):
        return text
    return SPELT.get(text.lower(), "")


@cache
def _closures() -> dict[str, frozenset[str]]:
    """The packages that each extra brings, with all that they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"client": project["dependencies"], **project["optional-dependencies"]}
    return {extra: frozenset(_closure([*wanted["client"], *wanted[extra]], wanted)) for extra in EXTRAS}


def _closure(requirements: Sequence[str], own: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(one), "") for one in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            if name == "adderworks":
                todo += [(Requirement(one), "") for one in own.get(wanted, ())]
                continue
            try:
                needs = metadata(name).get_all("Requires-Dist") or []
            except PackageNotFoundError:  # for another platform, or linked in another way
                continue
            found.add(name)
            todo += [(Requirement(one), wanted) for one in needs]
    return found


def extras_of(name: str) -> tuple[str, ...]:
    """The extras that bring a package; `dev`, which brings everything, only where no other does."""
    found = tuple(extra for extra in EXTRAS if name in _closures()[extra])
    return ("client",) if "client" in found else found[:-1] or found


def refused(package: Package) -> str | None:
    """Why a package's licence is not allowed; None where it is."""
    allowed = FREE | BY_FILE | (OF_TOOLS if package.extras in ((), ("dev",)) else set())
    choices = [re.sub(r"[()]", "", choice).split(" AND ") for choice in package.licence.split(" OR ")]
    if package.licence and any(set(choice) <= allowed for choice in choices):
        return None
    said = package.licence or "no licence that is known"
    return f"{package.name} {package.version} states {said}, which tests/docs/licences.py does not allow"


def page(found: Sequence[Package]) -> str:
    """The whole page."""

    def listed(licences: set[str]) -> str:
        return ", ".join(sorted(licences, key=str.lower))

    head = HEAD.format(free=listed(FREE), by_file=listed(BY_FILE), tools=listed(OF_TOOLS))
    rows = (
        f"| {one.name} | {one.version} | {one.licence} | {', '.join(one.extras) or 'dev'} |\n"
        for one in sorted(found, key=lambda one: one.name.lower())
    )
    return head + "".join(rows)


def problems() -> Iterator[str]:
    """Licences that are not allowed, and how docs/licences.md differs from what is installed."""
    try:
        found = packages()
    except PackageNotFoundError as error:
        yield f"{error.name} of constraints.txt is not installed: make setup"
        return
    yield from (why for package in found if (why := refused(package)))
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page(found):
        yield "it is not what `python -m tests.docs.licences` writes"


def main() -> int:
    found = packages()
    PAGE.write_text(page(found), encoding="utf-8")
    wrong = [why for package in found if (why := refused(package))]
    print("\n".join(wrong) or f"{len(found)} packages, all with licences that are allowed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
