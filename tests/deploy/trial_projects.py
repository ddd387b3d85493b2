"""Part of the compose trial: two projects on one service, each of which sees its own alone."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from adderclient import Client
from adderclient.errors import ApiError
from tests.deploy.composing import DIGIT, JOB_SECONDS, Compose, Trial, check, say, spec


def two_projects(compose: Compose) -> None:
    """A job, a model and pages of one project, asked for with keys of the other and without one; limits; roles."""
    with compose.client() as operator:
        operator.projects.make("vision", {"max_queued_jobs": 0})
        operator.projects.make("audio")
        keys = {
            (project, role): operator.keys.make(f"trial {role}", role=role, project=project).key
            for project in ("vision", "audio")
            for role in ("member", "viewer")
        }
    mine = Client(compose.url, api_key=keys["audio", "member"])
    theirs = Client(compose.url, api_key=keys["vision", "member"])
    reader = Client(compose.url, api_key=keys["audio", "viewer"])
    with mine, theirs, reader:
        job = mine.jobs.wait(mine.jobs.submit(spec(1)).id, JOB_SECONDS)
        model = str(job.model_id)
        check(job.status == "succeeded", f"the job of audio: {job}")
        check([one.id for one in mine.jobs.list()] == [job.id], "audio lists other jobs than its own")
        check(not len(theirs.jobs.list()) and not len(theirs.models.list()), "vision lists objects of audio")
        for what, call in {
            "job": lambda: theirs.jobs.get(job.id),
            "metrics": lambda: list(theirs.jobs.metrics(job.id)),
            "log": lambda: list(theirs.jobs.logs(job.id)),
            "artifacts": lambda: theirs.jobs.artifacts(job.id),
            "model": lambda: theirs.models.get(model),
            "prediction": lambda: theirs.models.predict(model, DIGIT),
            "deletion": lambda: theirs.models.delete(model),
        }.items():
            refused(call, 404, f"{what} of audio with a key of vision")
        refused(lambda: theirs.jobs.submit(spec(1)), 429, "a job over vision's max_queued_jobs")
        refused(lambda: reader.jobs.submit(spec(1)), 403, "a job of a viewer")
        check(reader.jobs.get(job.id).id == job.id, "a viewer reads its project")
    pages(compose, keys["audio", "member"], keys["vision", "member"], job.id)
    row_security(compose)
    say("two projects: each sees its own alone, by calls, pages and in the database; limit and role hold")


def refused(call: Callable[[], object], status: int, what: str) -> None:
    try:
        call()
    except ApiError as error:
        check(error.status == status, f"{what}: answered {error.status}, not {status}: {error}")
    else:
        raise Trial(f"{what}: was not refused")


def signed_in(site: httpx2.Client, key: str) -> httpx2.Response:
    """Signs a browser in; the answer with its cookie."""
    answer = site.post("/sign-in", data={"key": key, "to": "/"}, headers={"Origin": str(site.base_url).rstrip("/")})
    check(answer.status_code == 303, f"sign-in: {answer.status_code} {answer.text[:200]}")
    return answer


def pages(compose: Compose, mine: str, theirs: str, job: str) -> None:
    for key, status, where in ((mine, 200, "its own project"), (theirs, 404, "another project")):
        with httpx2.Client(base_url=compose.url) as site:
            signed_in(site, key)
            found = site.get(f"/jobs/{job}")
            check(found.status_code == status, f"a job's page in {where}: {found.status_code}")
            check((job in site.get("/").text) == (status == 200), f"the page of jobs in {where}")
    with httpx2.Client(base_url=compose.url) as site:
        for path in (f"/v1/jobs/{job}", f"/jobs/{job}"):
            found = site.get(path)
            check(found.status_code == 401, f"{path} without a key: {found.status_code}")


def row_security(compose: Compose) -> None:
    """The role of API and worker, by itself, sees no row and changes no table."""

    def ask(user: str, sql: str) -> str:
        script = f'PGPASSWORD=$(cat /run/secrets/$0) psql -h postgres -U {user} -d adder -Atc "{sql}" 2>&1 || true'
        secret = "postgres_password" if user == "adder" else "database_password"
        return compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "/bin/sh", "roles", "-c", script, secret)

    rows = ask("adder_app", "SELECT count(*) FROM jobs").strip().splitlines()[-1]
    check(rows == "0", f"adder_app sees {rows} jobs without a project")
    for sql in ("DROP TABLE jobs", "CREATE TABLE own (id int)", "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY"):
        said = ask("adder_app", sql)
        check("permission denied" in said or "must be owner" in said, f"adder_app: {sql}: {said}")
