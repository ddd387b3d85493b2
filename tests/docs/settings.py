"""`python -m tests.docs.settings`: writes docs/settings.md, every environment variable of the server, from the code."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import SecretStr

from jobs.settings import CHILD, Settings
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "settings.md"
HEAD = """\
# Settings

Every environment variable of API, worker, inference and `adder up`, made from `jobs/settings.py` by `python -m
tests.docs.settings`; `make docs` compares it. Each can also lie in a file, which the variable with `_FILE` behind its
name names (`ADDER_DATABASE_PASSWORD_FILE`); the variable itself goes first. A value that cannot be is refused at the
start, by the variable's name.

The command and the client read three more: `ADDER_URL`, `ADDER_API_KEY` and `ADDER_INSECURE`
([access.md](access.md)). The library reads `ADDER_BACKEND` and `ADDER_CPU_CAPABILITY` ([kernels.md](kernels.md)).
Compose has some of its own ([self-hosting.md](self-hosting.md)).

| variable | default | values | meaning |
|---|---|---|---|
"""
BINARY = ("", "Ki", "Mi", "Gi")


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    said = _docstrings()
    for name, field in Settings.model_fields.items():
        cells = (f"`ADDER_{name.upper()}`", _shown(name, field.default), _values(field.annotation, field.metadata))
        yield f"| {' | '.join(cells)} | {_meaning(said.get(name, ''))} |\n"


def _docstrings() -> Mapping[str, str]:
    """The text below each field of the class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = str(following.value.value)
    return found


def _meaning(text: str) -> str:
    plain = " ".join(text.split()).replace("``", "`")
    names = "|".join(Settings.model_fields)
    return re.sub(rf"`({names})`", lambda found: f"`ADDER_{found[1].upper()}`", plain).replace("|", "\\|")


def _shown(name: str, default: Any) -> str:
    if isinstance(default, SecretStr) or default in (None, "", ()):
        return "empty"
    if default == CHILD:
        return "`worker.child` by this Python"
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, int) and "bytes" in name and default % 1024 == 0:
        power = 0
        while default % 1024 == 0 and power + 1 < len(BINARY):
            default, power = default // 1024, power + 1
        return f"{default} {BINARY[power]}B"
    return f"`{default}`"


def _values(annotation: Any, metadata: Sequence[Any]) -> str:
    """The type in words, with its bounds."""
    kind = str(annotation)
    words = next(
        (word for sign, word in (
            ("Literal", ", ".join(f"`{one}`" if one else "empty" for one in getattr(annotation, "__args__", ()))),
            ("tuple", "a list"), ("bool", "true or false"), ("float", "a number"), ("int", "an integer"),
            ("Path", "a path"),
        ) if sign in kind),
        "a text",
    )  # fmt: skip
    bounds = [*metadata, *re.findall(r"Gt\(gt=0\)", kind)]
    for bound in bounds:
        match bound:
            case Ge(ge=least):
                words += f" ≥ {least:,}"
            case Le(le=most):
                words += f" ≤ {most:,}"
            case Gt() | str():
                words += " > 0"
            case MinLen(min_length=least):
                words += f" of {least} characters or more"
            case MaxLen(max_length=most):
                words += f", {most} at most"
            case _:
                pass
    return words


def problems() -> Iterator[str]:
    """How docs/settings.md differs from the code."""
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        yield "it is not what `python -m tests.docs.settings` writes"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
