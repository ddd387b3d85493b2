"""Query parameters by which the lists of jobs and of models are filtered and sorted."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from addercore.config.fields import Form
from jobs.finding_tables import MAX_METRIC
from jobs.repository.finding import Order, Wanted
from jobs.repository.ordering import OWN, PREFIXES

NO_NUL = r"^[^\x00]*$"
MOST_SEARCHED = 100
"""Characters of a search."""
LONGEST_COLUMN = 150
"""Characters of a column's name."""
SORT = rf"^(created|finished|metric:[^\x00]{{1,{MAX_METRIC}}})$"
"""By what a list may be sorted."""
SORT_JOBS = (
    rf"^(created|finished|{'|'.join(OWN)}|metric:[^\x00]{{1,{MAX_METRIC}}}"
    rf"|({'|'.join(map(re.escape, PREFIXES))})[^\x00]{{1,{LONGEST_COLUMN}}})$"
)
"""By what a list of jobs may be sorted."""
SORTS_JOBS = f"created, finished, {', '.join(OWN)}, metric:NAME, spec.FIELD, label.NAME or result.NAME"

Labels = Annotated[
    list[
        Annotated[
            str,
            Field(pattern=r"^[^:\x00]{1,64}:[^\x00]{0,256}$"),
            Form("a label as name:value, such as user:ann (1 to 64 characters, a colon, at most 256)"),
        ]
    ],
    Query(
        max_length=32,
        description="`key:value`; a row must have all labels that are given.",
        examples=[["study:eta"]],
    ),
]
Search = Annotated[
    Annotated[
        str, Field(max_length=MOST_SEARCHED, pattern=NO_NUL), Form(f"a text of at most {MOST_SEARCHED} characters")
    ],
    Query(
        description="Up to 8 words, in any case: each must begin a word of the name, a label, the network or dataset.",
        examples=["resnet eta"],
    ),
]
Starred = Annotated[bool | None, Query(description="Only rows with a star, or only those without.")]
OfSweep = Annotated[
    Annotated[str, Field(max_length=60, pattern=NO_NUL), Form("a sweep's id")] | None,
    Query(description="Only jobs that are trials of this sweep, or models that these trained."),
]
OfDataset = Annotated[
    Annotated[str, Field(max_length=100, pattern=NO_NUL), Form("a dataset's name or id")] | None,
    Query(description="Only rows of this dataset: a name (every version of it), `name@version`, or an id."),
]
SortedBy = Annotated[
    Annotated[
        str,
        Field(pattern=SORT),
        Form("created, finished or metric:NAME, such as metric:val/accuracy"),
    ],
    Query(
        description="`created`, `finished`, or `metric:NAME`, a number of the result. Rows without it come last.",
        examples=["metric:val/accuracy"],
    ),
]
JobsSortedBy = Annotated[
    Annotated[str, Field(pattern=SORT_JOBS), Form(SORTS_JOBS)],
    Query(
        description="`created`, `finished`, `metric:NAME` (a number of the result), or a column: `duration`, `kind`, "
        "`name`, `progress`, `status`, `spec.FIELD`, `label.NAME`, `result.NAME`. Numbers come before texts, jobs "
        "without a value last.",
        examples=["metric:val/accuracy", "spec.optimizer.eta"],
    ),
]
InOrder = Annotated[
    Order | None,
    Query(
        description="`asc` or `desc`. By default the newest come first, the largest of numbers, the first of names and "
        "labels, and by a metric or a result the best: the least of one "
        "whose name holds `loss`, `latency`, `_ms`, `bytes` or `energy`, else the greatest.",
    ),
]


async def _wanted(
    label: Labels = [],  # noqa: B006  (FastAPI copies it)
    q: Search = "",
    starred: Starred = None,
    sweep: OfSweep = None,
    dataset: OfDataset = None,
    sort: SortedBy = "created",
    order: InOrder = None,
) -> Wanted:
    pairs = [(key, value) for key, _, value in (item.partition(":") for item in label)]
    return Wanted(pairs, q, starred, sweep, dataset, sort, order)


async def _jobs_wanted(
    label: Labels = [],  # noqa: B006
    q: Search = "",
    starred: Starred = None,
    sweep: OfSweep = None,
    dataset: OfDataset = None,
    sort: JobsSortedBy = "created",
    order: InOrder = None,
) -> Wanted:
    return await _wanted(label, q, starred, sweep, dataset, sort, order)


ListedJobs = Annotated[Wanted, Depends(_jobs_wanted)]
"""Which jobs are wanted, and in which order."""
Listed = Annotated[Wanted, Depends(_wanted)]
"""Which rows of a list are wanted, and in which order."""
