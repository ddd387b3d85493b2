"""Jobs side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.compare.comparison import FEWEST, MOST, compare
from api.http.bodies import encoded
from api.http.dependencies import ServiceDep, known_query
from api.http.problems import documented, invalid
from api.jobs.schemas import JOB_ID
from api.schemas import Answer, SpecDocument, Time
from jobs.spec import Kind
from jobs.states import Status

router = APIRouter(prefix="/v1/compare", tags=["compare"], dependencies=[Depends(known_query)])


class ComparedJob(Answer):
    """A job among those that are compared."""

    id: str
    kind: Kind
    status: Status
    spec: SpecDocument
    labels: dict[str, str]
    created_at: Time
    finished_at: Time | None
    seconds: float | None
    """For how long it ran, in all its attempts."""
    result: dict[str, Any] | None
    model_id: str | None
    counts: dict[str, Any] | None
    """What its network costs for one image, as in `validate_only`; null for a job that is about no one network."""


class Difference(Answer):
    """A field of the specs that is not the same in all."""

    pointer: str
    values: list[Any]
    """In order of the jobs; null where a spec has no such field."""


class Comparison(Answer):
    jobs: list[ComparedJob]
    differences: list[Difference]
    """Labels aside."""
    metrics: list[str]
    """Names of the metrics that all of them have."""
    results: dict[str, list[float | None]]
    """Final metrics by name, in order of the jobs."""


@router.get("", response_model=Comparison, summary="Compare jobs", responses=documented("not_found", "invalid"))
def compare_jobs(
    service: ServiceDep,
    job: Annotated[
        list[Annotated[str, Query(max_length=60)]],
        Query(min_length=FEWEST, max_length=MOST, description="Id of a job; 2 to 20.", examples=[[JOB_ID, JOB_ID]]),
    ],
) -> Response:
    """Specs with what they differ in, final metrics, costs of the networks, and the metrics that all of them have."""
    repeated = next((at for at, id in enumerate(job) if id in job[:at]), None)
    if repeated is not None:
        raise invalid([("/query/job", f"names {job[repeated][:60]} twice; give each job once")])
    with service.database.read() as session:
        found = compare(session, job)
        jobs = [
            ComparedJob.model_validate(
                {
                    name: getattr(side.job, name)
                    for name in ("id", "kind", "status", "spec", "created_at", "finished_at")
                }
                | {"labels": side.labels, "seconds": side.seconds, "counts": side.counts}
                | {"result": side.job.result, "model_id": side.job.model_id}
            )
            for side in found.sides
        ]
        differences = [Difference(pointer=where, values=values) for where, values in found.differences.items()]
        answer = Comparison(jobs=jobs, differences=differences, metrics=found.metrics, results=found.results)
    return encoded(answer)
