"""``client.datasets``: what can be trained on."""

from __future__ import annotations

from urllib.parse import quote

from adderclient.records import Dataset, Page
from adderclient.transport import Transport


class Datasets:
    """The server's datasets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Dataset]:
        """One page of the datasets."""
        params = [(name, str(value)) for name, value in (("limit", limit), ("after", after)) if value is not None]
        return Page.from_json(self._transport.json("GET", "/v1/datasets", params=params), Dataset.from_json)

    def get(self, dataset: str) -> Dataset:
        """The dataset with this id or name."""
        return Dataset.from_json(self._transport.json("GET", f"/v1/datasets/{quote(dataset, safe='')}"))
