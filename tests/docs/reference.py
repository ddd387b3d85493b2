"""`python -m tests.docs.reference`: writes docs/python-reference.md, the public names with their docstrings.

It reads files and imports nothing, so that no tensor library is loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "python-reference.md"
HEAD = """\
# Python reference

Every public name of the library and the client, made from its docstring by `python -m tests.docs.reference`; `make
docs` compares it. How they are used: [python.md](python.md). What stays as it is: [compatibility.md](compatibility.md).
"""
PACKAGES = {
    "addercore": "The library: layers, optimizer, networks, trainings, models. Needs the extra `core`.",
    "addercore.quant": "Integer models from float ones ([quantisation.md](quantisation.md)).",
    "addercore.runtime": "Running integer models ([integer.md](integer.md)). Needs numpy alone.",
    "addercore.export": "C source and ONNX ([export.md](export.md)).",
}
CLIENT = "adderclient/_sync"
GROUPS = {
    "Client": "client.py",
    "client.jobs": "jobs.py",
    "a job": "job.py",
    "client.models": "models.py",
    "client.datasets": "datasets.py",
    "client.sweeps": "sweeps.py",
    "client.recipes": "recipes.py",
    "client.workers": "workers.py",
    "client.keys, client.projects": "access.py",
    "client.webhooks": "webhooks.py",
}
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source", "Example")
NAMING = ("Args", "Attributes", "Raises")
"""Sections whose entries begin with a name."""
ENTRY = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:, \w+)*): (.*)$")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Found:
    """A public name, and what defines it."""

    name: str
    node: Definition


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for package, about in PACKAGES.items():
        parts.append(f"\n## `{package}`\n\n{about}\n")
        for found in public(package):
            parts += _entry(found)
    parts.append("\n## `adderclient`\n\nThe client. `AsyncClient` has the same names, with `async with` and `await`.\n")
    for group, file in GROUPS.items():
        for node in ast.parse((ROOT / CLIENT / file).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                parts.append(f"\n### {group}: `{node.name}`\n\n{_plain(ast.get_docstring(node) or '')}\n")
                for method in _methods(node):
                    parts += _entry(Found(method.name, method), level=4)
    return "".join(parts)


def public(package: str) -> Iterator[Found]:
    """The public names of a package, each once, in the order of its `__init__`."""
    init = ROOT.joinpath(*package.split("."), "__init__.py")
    for name, module in _imports(init).items():
        node = _defined(module, name)
        if node is not None:
            yield Found(name, node)
    for own in ast.parse(init.read_text()).body:
        if isinstance(own, Definition) and not own.name.startswith("_"):
            yield Found(own.name, own)


@cache
def _imports(init: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(init.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("addercore"):
            found.update({alias.asname or alias.name: node.module for alias in node.names})
    return found


def _defined(module: str, name: str) -> Definition | None:
    """What defines the name, through packages that pass it on; None where it is a value."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, Definition) and node.name == name:
            return node
    inner = _imports(file).get(name)
    return _defined(inner, name) if inner and inner != module else None


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    yield from (item for item in functions if not item.name.startswith("_") and ast.get_docstring(item))


def _entry(found: Found, level: int = 3) -> Iterator[str]:
    signature = f"{found.name}{_arguments(found.node)}"
    said = _plain(ast.get_docstring(found.node) or "")
    yield f"\n{'#' * level} `{found.name}`\n\n```text\n{signature}\n```\n\n{said}\n"
    if isinstance(found.node, ast.ClassDef):
        for method in _methods(found.node):
            yield f"\n{'#' * (level + 1)} `{found.name}.{method.name}`\n\n"
            yield f"```text\n{method.name}{_arguments(method)}\n```\n\n{_plain(ast.get_docstring(method) or '')}\n"


def _arguments(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        made = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
        return _arguments(made).removesuffix(" -> None") if made else ""
    own = [argument for argument in node.args.posonlyargs + node.args.args if argument.arg not in ("self", "cls")]
    defaults = node.args.defaults[-len(own) :] if own else []
    arguments = ast.arguments(
        posonlyargs=[],
        args=own,
        vararg=node.args.vararg,
        kwonlyargs=node.args.kwonlyargs,
        kw_defaults=node.args.kw_defaults,
        kwarg=node.args.kwarg,
        defaults=defaults,
    )
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(arguments)}){returns}"


def _plain(docstring: str) -> str:
    """A docstring as Markdown: its sections as lists."""
    lines: list[str] = []
    section = ""
    for line in docstring.splitlines():
        text = line.strip()
        if text.removesuffix(":") in SECTIONS and text.endswith(":"):
            section = text.removesuffix(":")
            lines += ["", f"*{section}*", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            entry = ENTRY.match(text) if section in NAMING else None
            lines.append(f"- `{entry[1]}`: {entry[2]}" if entry else f"- {text}" if lines[-1] == "" else f"  {text}")
        elif section and text:
            lines.append(f"  {text}")
        else:
            section = "" if text else section
            lines.append(line if not section else "")
    joined = "\n".join(lines).strip()
    joined = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", joined).replace("``", "`")
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"::\n", ":\n", joined))


def problems() -> Iterator[str]:
    """How docs/python-reference.md differs from the docstrings."""
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        yield "it is not what `python -m tests.docs.reference` writes"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
