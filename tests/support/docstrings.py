"""What public docstrings lack: sections for arguments, results and errors, in Google's style.

Args:
    name: what it is, with shape and unit.
    first, second: two that are described together.

Returns:
    what comes back.

Raises:
    ValueError: when.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source", "Example")


def sections(docstring: str) -> dict[str, str]:
    """Title → text of each section of a docstring."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in inspect.cleandoc(docstring).splitlines():
        title = line.removesuffix(":")
        if line.endswith(":") and title in SECTIONS:
            current = found.setdefault(title, [])
        elif line and not line.startswith(" "):
            current = None
        elif current is not None:
            current.append(line)
    return {title: "\n".join(lines) for title, lines in found.items()}


def names_in(section: str) -> set[str]:
    """Names that a section describes, each entry being `name: text` or `name, name: text`."""
    found: set[str] = set()
    for line in textwrap.dedent(section).splitlines():
        if entry := re.match(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*):\s", line + " "):
            found |= {name.strip(" *") for name in entry[1].split(",")}
    return found


def raised_by(function: Callable[..., Any]) -> set[str]:
    """Names of the exceptions that a function's own text raises; not those of what it calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(what, ast.Name) and what.id[:1].isupper():
                found.add(what.id)
    return found - {"NotImplementedError"}


def _lacking_of_function(name: str, function: Callable[..., Any], of_class: bool = False) -> Iterator[str]:
    docstring = function.__doc__
    if not docstring:
        yield f"{name}: no docstring"
        return
    parts, signature = sections(docstring), inspect.signature(function)
    parameters = list(signature.parameters)
    if of_class and parameters and parameters[0] in ("self", "cls"):
        del parameters[0]
    described = names_in(parts.get("Args", ""))
    yield from (f"{name}: Args lacks {parameter}" for parameter in parameters if parameter not in described)
    yield from (f"{name}: Args has {extra}, which is no parameter" for extra in sorted(described - {*parameters}))
    gives = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    if gives and parameters and not {"Returns", "Yields"} & set(parts):
        yield f"{name}: no section Returns"
    named = names_in(parts.get("Raises", ""))
    yield from (f"{name}: Raises lacks {error}" for error in sorted(raised_by(function) - named))


def _fields_of(cls: type) -> list[str]:
    """What its maker must know: parameters of the constructor, where the class or its package has one."""
    if hasattr(cls, "model_fields"):  # pydantic: a field with a description needs no other
        return [name for name, field in cls.model_fields.items() if not field.description]
    own = cls.__init__  # type: ignore[misc]
    if getattr(own, "__module__", "") != cls.__module__ and not hasattr(cls, "__dataclass_fields__"):
        return []
    return [name for name in inspect.signature(cls).parameters if not name.startswith("_")]


def _lacking_of_class(name: str, cls: type) -> Iterator[str]:
    if not cls.__dict__.get("__doc__"):
        yield f"{name}: no docstring"
        return
    parts = sections(cls.__doc__ or "")
    described = names_in(parts.get("Args", "")) | names_in(parts.get("Attributes", ""))
    yield from (f"{name}: Args or Attributes lacks {field}" for field in _fields_of(cls) if field not in described)
    package = cls.__module__.split(".")[0]
    foreign = [base for base in cls.__mro__ if base.__module__.split(".")[0] != package]
    own = [base for base in cls.__mro__ if base not in foreign]
    members = {member: value for base in reversed(own) for member, value in vars(base).items()}
    for member, value in members.items():
        inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if member.startswith("_") or not (inspect.isfunction(inner) or isinstance(value, property)):
            continue
        if isinstance(value, property):
            if not value.__doc__:
                yield f"{name}.{member}: no docstring"
        elif member == "forward" or not any(member in vars(base) for base in foreign):
            yield from _lacking_of_function(f"{name}.{member}", inner, of_class=not isinstance(value, staticmethod))


def lacking(package: ModuleType) -> list[str]:
    """What the docstrings of everything in `package.__all__` lack, one sentence each; empty if nothing is missing.

    Functions and public methods need Args with every parameter, Returns if they take arguments and give something,
    and Raises with every exception that their own text raises. Classes need every parameter of their constructor in
    Args or Attributes (pydantic models: a description of each field). Methods that override one of another library
    need nothing, except `forward`. Constants and strings have no docstrings and are left out.
    """
    found: list[str] = []
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value):
            found += _lacking_of_class(name, value)
        elif inspect.isroutine(value):
            found += _lacking_of_function(name, value)
    return found
