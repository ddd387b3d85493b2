"""Checks the documentation against the repository: links, commands, paths, settings, calls and generated parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from urllib.parse import unquote

from benchmarks import paper
from jobs import spec_files
from jobs.settings import Settings
from jobs.states import EDGES
from tests.docs import calls, commands, licences, reference, settings, snippets
from tests.docs.markdown import ROOT, Page, pages

PACKAGES = ("addercore", "adderclient", "api", "benchmarks", "jobs", "launcher", "migrations", "worker")
FOLDERS = (*PACKAGES, "deploy", "docs", "tests")
FILE = re.compile(rf"^((?:{'|'.join(FOLDERS)})(?:/[\w.-]+)*/?)(?:: ?(\w+))?$")
MODULE = re.compile(rf"^(?:{'|'.join(PACKAGES)})(?:\.\w+)+$")
SETTING = re.compile(r"\bADDER_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)")
CALL = re.compile(r"^([A-Z]+(?:\|[A-Z]+)*) (/v1/[^\s?]*)")
HISTORY = "CHANGELOG.md"
"""Tells of releases: paths and commands in it may be gone by now. Its links must lead somewhere."""


def problems() -> list[str]:
    """Everything that is wrong, as `page:line: sentence`."""
    found = []
    for page in pages():
        found += [f"{page.name}:{line}: {text}" for line, text in sorted(set(_problems_of(page)))]
    return found + list(_generated())


def _problems_of(page: Page) -> Iterator[tuple[int, str]]:
    yield from broken_links(page)
    if page.name == HISTORY:
        return
    yield from wrong_commands(page)
    yield from missing_paths(page)
    yield from unknown_settings(page)
    yield from unknown_calls(page)
    yield from snippets.problems(page)


def broken_links(page: Page) -> Iterator[tuple[int, str]]:
    """Links to files that are not there, or to headings that a page does not have."""
    for link in page.links():
        if re.match(r"[a-z][a-z0-9+.-]*:", link.text):
            continue
        path, _, fragment = unquote(link.text).partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists():
            yield link.line, f"the link {link.text} leads nowhere"
        elif fragment and target.suffix == ".md" and fragment not in _page(target).anchors:
            yield link.line, f"{target.name} has no heading #{fragment}"


@cache
def _page(path: Path) -> Page:
    return Page(path)


def wrong_commands(page: Page) -> Iterator[tuple[int, str]]:
    """Commands that do not exist, or not with these options."""
    for line in page.shell_lines():
        yield from ((line.line, problem) for problem in commands.problems_of(line.text))
    for code in page.inline_code():
        if commands.is_ours(code.text):
            yield from ((code.line, problem) for problem in commands.problems_of(code.text))


def missing_paths(page: Page) -> Iterator[tuple[int, str]]:
    """Files, modules and names in files that inline code mentions and the repository does not have."""
    for code in page.inline_code():
        if match := FILE.match(code.text):
            path, name = ROOT / match[1], match[2]
            if "/" in code.text and not path.exists():
                yield code.line, f"{match[1]} does not exist"
            elif name and not re.search(rf"\b{name}\b", path.read_text()):
                yield code.line, f"{match[1]} has no {name}"
        elif MODULE.match(code.text) and not _is_module(code.text):
            yield code.line, f"there is no module or name {code.text}"


def _is_module(dotted: str) -> bool:
    """Whether it is a module, or a name that stands in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        files = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.glob("*.py"))
        if files:
            text = "\n".join(file.read_text() for file in files)
            return all(re.search(rf"\b{name}\b", text) for name in parts[length:])
    return False


def unknown_settings(page: Page) -> Iterator[tuple[int, str]]:
    """Environment variables `ADDER_…` that neither the settings nor any program reads."""
    for number, line in enumerate(page.path.read_text().splitlines(), start=1):
        for name in SETTING.findall(line):
            if name.removeprefix("ADDER_").lower() not in Settings.model_fields and name not in _sources():
                yield number, f"nothing reads {name}"


@cache
def _sources() -> str:
    """The text of all programs."""
    kinds = ("*.py", "*.c", "*.h", "*.yml", "new-env", "Makefile", "Dockerfile")
    files = [
        path for folder in (*PACKAGES, "deploy", "tests") for kind in kinds for path in (ROOT / folder).rglob(kind)
    ]
    files += [path for kind in kinds for path in ROOT.glob(kind)]
    return "\n".join(path.read_text(errors="replace") for path in files)


def unknown_calls(page: Page) -> Iterator[tuple[int, str]]:
    """REST calls such as `POST /v1/jobs` that the API does not have."""
    for code in page.inline_code():
        if match := CALL.match(code.text):
            for method in match[1].split("|"):
                if "…" not in match[2] and not any(_fits(method, match[2], call) for call in _calls()):
                    yield code.line, f"the API has no call {method} {match[2]}"


def _fits(method: str, path: str, call: tuple[str, str]) -> bool:
    pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(call[1]))
    return method == call[0] and re.fullmatch(pattern, path) is not None


@cache
def _calls() -> frozenset[tuple[str, str]]:
    from api.app import create_app

    document = create_app(Settings(data_dir=Path("unused"))).openapi()
    return frozenset((method.upper(), path) for path, methods in document["paths"].items() for method in methods)


def _results(page: paper.Page) -> Iterator[str]:
    text = (ROOT / "docs" / page.name).read_text()
    if not text.startswith(page.head):
        yield "its head is not that of benchmarks/paper.py"
    yield from (f"it has no section {name}" for name in page.recipes if f"\n## {name}\n" not in text)


def _states() -> Iterator[str]:
    text = (ROOT / "docs/architecture.md").read_text()
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE))
    edges = {(str(start), str(end)) for start, ends in EDGES.items() for end in ends}
    yield from (f"its diagram lacks {start} --> {end}" for start, end in sorted(edges - drawn))
    yield from (
        f"its diagram has {start} --> {end}, which jobs/states.py has not" for start, end in sorted(drawn - edges)
    )


def _specs() -> Iterator[str]:
    if (ROOT / "docs/specs.md").read_text() != spec_files.page():
        yield "it is not what `python -m jobs.spec_files` writes"


def _index() -> Iterator[str]:
    index = Page(ROOT / "docs/README.md")
    listed = {link.text for link in index.links()} | {index.path.name}
    yield from (
        f"it does not list {path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in listed
    )


GENERATED: dict[str, Callable[[], Iterator[str]]] = {
    "docs/README.md": _index,
    "docs/architecture.md": _states,
    "docs/licences.md": licences.problems,
    "docs/python-reference.md": reference.problems,
    "docs/rest-reference.md": calls.problems,
    **{f"docs/{page.name}": partial(_results, page) for page in paper.PAGES.values()},
    "docs/settings.md": settings.problems,
    "docs/specs.md": _specs,
}
"""Pages, or parts of pages, that code decides; each with what tells how they differ from it. The tables of
docs/counts.md and docs/monitoring.md have tests beside the code that they describe."""


def _generated() -> Iterator[str]:
    for name, differences in GENERATED.items():
        yield from (f"{name}: {difference}" for difference in differences())
