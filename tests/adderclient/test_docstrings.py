"""Everything public has a docstring that says what goes in, what comes out, and what can go wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import pytest

import adderclient
from adderclient._sync import access, datasets, jobs, models, recipes, sweeps, workers
from adderclient.records import Record

PUBLIC: dict[str, Any] = {name: getattr(adderclient, name) for name in adderclient.__all__}
RESOURCES = (
    jobs.Jobs,
    models.Models,
    datasets.Datasets,
    recipes.Recipes,
    workers.Workers,
    sweeps.Sweeps,
    access.Keys,
    access.Projects,
)
SIMPLE = {"close"}
"""Methods that cannot fail."""


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    classes = [kind for kind in PUBLIC.values() if inspect.isclass(kind)]
    for kind in {*classes, *RESOURCES, Record}:
        for name, found in vars(kind).items():
            function = found.__func__ if isinstance(found, classmethod) else found
            if inspect.isfunction(function) and not name.startswith("_") and not issubclass(kind, Exception):
                yield f"{kind.__name__}.{name}", function


METHODS = dict(methods())


def sections(text: str) -> set[str]:
    return {line.strip().rstrip(":") for line in text.splitlines() if line.strip() in ("Args:", "Returns:", "Raises:")}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_documents_arguments_result_and_errors(name: str) -> None:
    function, text = METHODS[name], inspect.getdoc(METHODS[name]) or ""
    arguments = [one for one in inspect.signature(function).parameters if one not in ("self", "cls")]
    wanted = {"Args"} if arguments else set()
    wanted |= {"Returns"} if get_type_hints(function).get("return") is not type(None) else set()
    wanted |= {"Raises"} if not name.endswith((*SIMPLE, "Page.from_json")) else set()
    assert wanted <= sections(text), f"{name} lacks {wanted - sections(text)}"
    described = text.partition("Args:")[2]
    assert [one for one in arguments if f"\n    {one}:" not in described] == []


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_has_a_docstring(name: str) -> None:
    found = PUBLIC[name]
    if not inspect.isclass(found):
        return
    text = vars(found).get("__doc__") or ""
    assert text.split("\n")[0].rstrip().endswith("."), f"{name}: one sentence first"
    assert not text.startswith(f"{name}("), "the one that dataclass makes"


def test_an_error_documents_what_it_carries() -> None:
    for name, kind in PUBLIC.items():
        if inspect.isclass(kind) and issubclass(kind, adderclient.AdderClientError) and "__init__" in vars(kind):
            attributes = (kind.__doc__ or "").partition("Attributes:")[2]
            stored = [one for one in inspect.signature(kind.__init__).parameters if one not in ("self", "seconds")]
            assert [one for one in stored if f"{one}:" not in attributes] == [], name
