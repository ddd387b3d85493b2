"""`/v1/compare`: several jobs side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.compare.comparison import FEWEST, MOST, compare
from api.compare.schemas import ComparedJob, Comparison, Difference
from api.http.bodies import json_response
from api.http.dependencies import ServiceDep, known_query
from api.http.problems import documented, invalid
from api.jobs.schemas import JOB_ID

router = APIRouter(prefix="/v1/compare", tags=["compare"], dependencies=[Depends(known_query)])


@router.get(
    "", response_model=Comparison, summary="Compare jobs", responses=documented("not_found", "conflict", "invalid")
)
def compare_jobs(
    service: ServiceDep,
    job: Annotated[
        list[Annotated[str, Query(max_length=60)]],
        Query(
            min_length=FEWEST,
            max_length=MOST,
            description="Id of a job; repeat the parameter, 2 to 20 times.",
            examples=[[JOB_ID, JOB_ID]],
        ),
    ],
) -> Response:
    """Compares jobs: the fields in which their specs differ, their results, and what their networks cost for one image.

    `differences` names fields by JSON pointers (RFC 6901). Labels are not compared.

    Errors: 404 `not_found` for an unknown job; 409 `conflict` for one that is stored and cannot be read; 422 `invalid`
    for fewer than 2 or more than 20 jobs, or one named twice.
    """
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
    return json_response(answer)
