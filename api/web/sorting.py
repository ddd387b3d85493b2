"""The filters and the order of a list of jobs or models, as they stand in the address of its page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Self
from urllib.parse import urlencode

from fastapi import Depends, Query

from api.http.lists import MOST_SEARCHED, SORT
from jobs.repository.finding import Order, Wanted

ORDERS: Mapping[str, Order] = {"asc": "asc", "desc": "desc"}


@dataclass(frozen=True)
class Asked:
    """What a list shows, and in which order. An empty field filters nothing."""

    labels: tuple[tuple[str, str], ...] = ()
    q: str = ""
    starred: bool = False
    dataset: str = ""
    sweep: str = ""
    sort: str = ""
    order: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of an address."""
        found = [("label", f"{key}:{value}") for key, value in self.labels]
        found += [("q", self.q), ("starred", "true" if self.starred else ""), ("dataset", self.dataset)]
        found += [("sweep", self.sweep), ("sort", self.sort), ("order", self.order)]
        return [(key, value) for key, value in found if value]

    def query(self, **more: str) -> str:
        """The address of the list with these filters and the parameters `more`."""
        pairs = [*self.pairs(), *((key, value) for key, value in more.items() if value)]
        return "?" + urlencode(pairs) if pairs else "?"

    def with_label(self, key: str, value: str) -> Self:
        labels = self.labels if (key, value) in self.labels else (*self.labels, (key, value))
        return replace(self, labels=labels)

    def without_label(self, key: str, value: str) -> Self:
        return replace(self, labels=tuple(label for label in self.labels if label != (key, value)))

    def without(self, *fields: str) -> Self:
        """The same without these fields."""
        return replace(self, **{name: type(getattr(self, name))() for name in fields})

    def sorted_by(self, sort: str) -> Self:
        """The list in the order of a column's head: in the other direction where it is sorted by that already."""
        wanted = self.wanted()
        if (self.sort or "created") != sort:
            return replace(self, sort="" if sort == "created" else sort, order="")
        return replace(self, order="asc" if wanted.descending else "desc")

    def direction_of(self, sort: str) -> str:
        """`ascending` or `descending` where the list is sorted by this, else `none`: the values of `aria-sort`."""
        if (self.sort or "created") != sort:
            return "none"
        return "descending" if self.wanted().descending else "ascending"

    def wanted(self) -> Wanted:
        """The same for the repository."""
        return Wanted(
            labels=self.labels,
            q=self.q,
            starred=True if self.starred else None,
            sweep=self.sweep or None,
            dataset=self.dataset or None,
            sort=self.sort or "created",
            order=ORDERS.get(self.order),
        )

    @property
    def narrowed(self) -> bool:
        """Whether anything is filtered out."""
        return bool(self.labels or self.q or self.starred or self.dataset or self.sweep)


class AskedQuery:
    """The parameters of a list's page as they came: a page says what is wrong with them, so they are parsed in it."""

    def __init__(
        self,
        label: Annotated[list[str], Query()] = [],  # noqa: B006  (a declaration: FastAPI copies it)
        q: str = "",
        starred: str = "",
        dataset: str = "",
        sweep: str = "",
        sort: str = "",
        order: str = "",
    ) -> None:
        self._label, self._texts = label, (q, dataset, sweep)
        self._starred, self._sort, self._order = starred == "true", sort, order

    def parse(self, sorts: str = SORT, named: str = "created, finished or metric:NAME") -> Asked:
        """What is asked for. Raises ValueError with a sentence about what is malformed.

        `sorts` matches the orders that there are, and `named` says them.
        """
        labels = []
        for text in filter(None, self._label):
            key, colon, value = text.partition(":")
            if not (key and colon) or "\0" in text:
                raise ValueError(f"A label filter reads key:value, got {text!r}.")
            labels.append((key, value))
        if any("\0" in text or len(text) > MOST_SEARCHED for text in self._texts):
            raise ValueError(f"A search and a name have at most {MOST_SEARCHED} characters, and no NUL.")
        if self._sort and not re.fullmatch(sorts, self._sort):
            raise ValueError(f"A list is sorted by {named}, got {self._sort[:60]!r}.")
        if self._order and self._order not in ORDERS:
            raise ValueError(f"An order is asc or desc, got {self._order[:60]!r}.")
        q, dataset, sweep = self._texts
        return Asked(tuple(labels), q.strip(), self._starred, dataset, sweep, self._sort, self._order)


AskedDep = Annotated[AskedQuery, Depends()]
