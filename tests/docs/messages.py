"""`python -m tests.docs.messages`: writes docs/messages.md, every sentence that the code can say to a person.

It reads the code: a sentence is a text of three words or more that is no docstring, no help of an option, no
description of a parameter, no line of a log and no SQL. A test fails where the page is not what this would write.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "messages.md"
DOORS = (
    ("REST API and pages", ("api",)),
    ("Jobs, queue and stores", ("jobs",)),
    ("Specs, networks and models", ("addercore/config", "addercore/arch", "addercore/io.py", "addercore/authors.py")),
    ("Datasets and pictures", ("addercore/data",)),
    ("Trainings and analyses", ("addercore",)),
    ("Workers", ("worker",)),
    ("Command and client", ("adderclient", "launcher")),
)
"""Where a message is met, and the folders that say it; the first door with a folder counts."""
INTRODUCTION = """# Messages

Every sentence that the service, the command and the library can say, by where it is met; `{…}` is filled in. Made from
the code by `python -m tests.docs.messages`, and compared with it by a test. A refusal should name the thing, the value
and the remedy; that is read here by people, not by the test.
"""
EXPLAINS = {"help", "description", "summary", "title", "metavar", "show_default", "prog", "epilog", "json_schema_extra"}
"""Keywords whose texts describe an interface before anything happens."""
ELSEWHERE = {"log", "re", "sa", "op", "print"}
"""Objects whose calls are about logs, patterns and SQL."""
QUIET = {
    *("Form", "text", "compile", "execute", "exec_driver_sql", "CheckConstraint", "getLogger", "TypeVar", "documented"),
}
WORDS = 3
MADE = "_sync"
"""A folder that is made from another, and says the same."""
NO_SENTENCE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|WITH|BEGIN|<|[\w.]+ IN |public, )", re.I)
MOST_SHOWN = 40
"""Characters of an expression that is shown as it is; longer ones are `…`."""


def page() -> str:
    """The whole page."""
    seen: set[Path] = set()
    parts = [INTRODUCTION]
    for door, folders in DOORS:
        parts.append(f"\n## {door}\n")
        for path in sorted({path for folder in folders for path in _files(folder)} - seen):
            seen.add(path)
            found = list(dict.fromkeys(sentences(path)))
            if found:
                parts.append(f"\n**`{path.relative_to(ROOT)}`**\n")
                parts += [f"- {one}" for one in found]
    return "\n".join(parts) + "\n"


def _files(folder: str) -> Iterator[Path]:
    where = ROOT / folder
    found = [where] if where.is_file() else where.rglob("*.py")
    yield from (path for path in found if path.parent.name != MADE)


def sentences(path: Path) -> Iterator[str]:
    """The sentences of a file, in order."""
    yield from _of(ast.parse(path.read_text()))


def _of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring, of an attribute too
    if isinstance(node, ast.keyword) and node.arg in EXPLAINS:
        return
    if isinstance(node, ast.Call) and _quiet(node.func):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        node.decorator_list = []  # routes' descriptions
    said = _text(node) if isinstance(node, ast.expr) else None
    if said is not None:
        plain = " ".join(said.split())
        if _words(plain) >= WORDS and not NO_SENTENCE.match(plain):
            yield plain.replace("<", "\\<")
        return
    for child in ast.iter_child_nodes(node):
        yield from _of(child)


def _words(text: str) -> int:
    return sum(any(letter.isalpha() for letter in word) for word in text.split())


def _quiet(function: ast.expr) -> bool:
    names = [part.id if isinstance(part, ast.Name) else part.attr for part in ast.walk(function)
             if isinstance(part, ast.Name | ast.Attribute)]  # fmt: skip
    return names[-1] in ELSEWHERE or names[0] in QUIET or names[-1] in QUIET


def _text(node: ast.expr) -> str | None:
    """A text with `{…}` for what is filled in; None where the expression is no text."""
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_piece(value) for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _text(left), _text(right)
            if one is None and other is None:
                return None
            return f"{_shown(left) if one is None else one}{_shown(right) if other is None else other}"
        case _:
            return None


def _piece(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else _shown(getattr(value, "value", value))


def _shown(node: ast.expr) -> str:
    source = ast.unparse(node)
    return f"{{{source}}}" if len(source) <= MOST_SHOWN and '"' not in source else "{…}"


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
