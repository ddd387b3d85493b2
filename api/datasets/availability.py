"""Which datasets this server can train on, and how to get the others."""

from __future__ import annotations

from pathlib import Path

from addercore import config
from addercore.config import DATASETS
from addercore.config import datasets as known
from api.access.acting import Acting
from api.datasets.schemas import Dataset
from api.http.listing import readable
from api.http.problems import invalid
from api.schemas import Page
from jobs.access.scope import OwnTransaction
from jobs.repository import datasets
from jobs.settings import Settings


def missing_files(settings: Settings, info: config.DatasetInfo) -> list[Path]:
    """The files of a dataset that are missing in its folder, compressed or not."""
    return known.missing_files(info, settings.datasets_dir.resolve())


def how_to_get(settings: Settings, info: config.DatasetInfo) -> str:
    """A sentence for people: where the files of a dataset come from and where they go, seen from the data folder.

    Where that lies on the server is nobody's business but the operator's.
    """
    return known.how_to_get(info, settings.datasets_dir.relative_to(settings.data_dir))


def require_dataset(settings: Settings, name: str) -> None:
    """Raises Problem (422) at /dataset/name when the files of a dataset are not on this server."""
    info = config.dataset(name)
    missing = missing_files(settings, info)
    if missing:
        names = ", ".join(path.name for path in missing)
        message = f"the files of {name} are not on this server (missing: {names}). {how_to_get(settings, info)}"
        raise invalid([("/dataset/name", message)])


def published(service: Acting, name: str) -> Dataset:
    """A published dataset as the API answers it."""
    info, settings = DATASETS[name], service.settings
    return Dataset.published(info, available=not missing_files(settings, info), how_to_get=how_to_get(settings, info))


def datasets_page(service: Acting, session: OwnTransaction, limit: int, after: str | None) -> Page[Dataset]:
    """Published datasets by name, then users' own, newest first."""
    names = sorted(DATASETS)
    own = after is not None and after not in names
    names = [] if own else [name for name in names if after is None or name > after]
    data = [published(service, name) for name in names[:limit]]
    if len(names) > limit:
        return Page.of(data, names[limit - 1])
    # At least one row is read, also where the published datasets fill the page: it tells whether more follow.
    page = datasets.list_page(session, limit=max(1, limit - len(data)), after=after if own else None)
    rows = page.rows if len(data) < limit else []
    more = (data[-1].name if page.rows else None) if len(data) == limit else page.next
    found = readable(rows, Dataset.of)
    return Page.of([*data, *found.views], more, found.unreadable)
