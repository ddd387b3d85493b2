"""``client.recipes``: the tables and figures of the paper, each with a spec that computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from adderclient.records import Json, Page
from adderclient.transport import Transport


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A table or figure of the paper; all that the server says about it is in ``raw``."""

    name: str
    title: str = ""
    reference: str = ""
    """Where the paper has it."""
    description: str = ""
    output: str = ""
    """``table`` or ``figure``: what it is in the paper. A job yields both."""
    datasets: tuple[str, ...] = ()
    """Those of the paper."""
    takes_model: bool = False
    """Whether it can be about a model of yours (``model_id``) instead of networks that it trains."""
    operations: int | None = None
    """Estimate of all that the job computes."""
    spec: Json = field(default_factory=dict)
    """Ready for ``client.jobs.submit``."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Recipe:
        """Parses the object of the contract."""
        operations, spec = data.get("operations"), data.get("spec")
        return cls(
            name=str(data["name"]),
            title=str(data.get("title") or ""),
            reference=str(data.get("reference") or ""),
            description=str(data.get("description") or ""),
            output=str(data.get("output") or ""),
            datasets=tuple(map(str, data.get("datasets") or ())),
            takes_model=bool(data.get("takes_model")),
            operations=None if operations is None else int(operations),
            spec=spec if isinstance(spec, Mapping) else {},
            raw=data,
        )


class Recipes:
    """The server's recipes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, dataset: str | None = None, limit: int | None = None, after: str | None = None) -> Page[Recipe]:
        """One page of the recipes in the paper's order, their specs for ``dataset`` (the server's default: digits)."""
        options: dict[str, Any] = {"dataset": dataset, "limit": limit, "after": after}
        params = [(name, str(value)) for name, value in options.items() if value is not None]
        return Page.from_json(self._transport.json("GET", "/v1/recipes", params=params), Recipe.from_json)

    def get(self, name: str, *, dataset: str | None = None) -> Recipe:
        """The recipe called ``name``, its spec for ``dataset``."""
        params = [] if dataset is None else [("dataset", dataset)]
        path = f"/v1/recipes/{quote(name, safe='')}"
        return Recipe.from_json(self._transport.json("GET", path, params=params))
