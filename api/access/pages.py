"""The pages `/sign-in`, `/keys`, `/usage` and `/audit`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.access.acting import Acting
from api.access.admission import COOKIE
from api.access.schemas import DayUsage, Me
from api.access.summary import me
from api.http.bodies import media_type, read
from api.http.dependencies import ServiceDep
from api.http.problems import Problem
from api.service import Service
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from jobs.access import accounting, audit, keys
from jobs.access.keys import BadKey, Identity
from jobs.access.scope import SERVICE
from jobs.errors import BadCursor
from jobs.repository.core import now

router = APIRouter()

MAX_FORM_BYTES = 4096
DAYS = 30
NO_LIMIT = "–"


def _local(path: str) -> str:
    """A path of this service; `/` for everything else, such as another site's address."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if fine else "/"


@router.get("/sign-in")
async def sign_in_page(request: Request, to: str = "/") -> Response:
    """The form that takes a key."""
    return await run_sync(_form, request, _local(to), "")


def _form(request: Request, to: str, problem: str) -> HTMLResponse:
    status = HTTPStatus.UNAUTHORIZED if problem else HTTPStatus.OK
    context: dict[str, Any] = {"section": "", "to": to, "problem": problem}
    answer = page(request, "sign_in.html", context, status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Signs a browser in with a key: its cookie names a row that ends with the key."""
    service = cast(Service, request.app.state.service)
    fields = await _fields(request)
    to = _local(fields.get("to", "/"))
    try:
        identity = await service.keyring.of_key(fields.get("key", "").strip())
    except BadKey as error:
        return await run_sync(_form, request, to, str(error))
    token, ends = await run_sync(_signed_in, service, identity)
    answer = RedirectResponse(to, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        token,
        max_age=ends,
        path=service.settings.path_prefix or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


def _signed_in(service: Service, identity: Identity) -> tuple[str, int]:
    """The token of a new sign-in, and for how many seconds it holds."""
    with service.database.write(SERVICE) as session:
        token, ends = keys.sign_in(session, identity)
        return token, max(1, (ends - now(session)) // 1000)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends the sign-in of a browser."""
    service = cast(Service, request.app.state.service)
    token = request.cookies.get(COOKIE)
    if token:
        await run_sync(_signed_out, service, token)
        service.keyring.forget_browser(token)
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path=service.settings.path_prefix or "/")
    return answer


def _signed_out(service: Service, token: str) -> None:
    with service.database.write(SERVICE) as session:
        keys.sign_out(session, token)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form. Raises Problem for another media type, or a long body."""
    if media_type(request) != "application/x-www-form-urlencoded":
        raise Problem("unsupported_media_type", "This form is sent as application/x-www-form-urlencoded.")
    text = (await read(request, MAX_FORM_BYTES)).decode("ascii", "replace")
    try:
        return {name: values[-1] for name, values in parse_qs(text, max_num_fields=10).items()}
    except ValueError:
        raise Problem("bad_request", "The form has too many fields.") from None


@router.get("/keys")
def key_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """The keys of the project."""
    try:
        with service.database.read() as session:
            found = keys.list_keys(session, limit=PAGE_SIZE, after=after or None)
            context = {
                **page_header(session, service.settings, section="keys"),
                "project": service.caller.project_name,
                "keys": found.rows,
                "next": found.next,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "keys.html", context)


@router.get("/audit")
def audit_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """What was done in the project."""
    try:
        with service.database.read() as session:
            found = audit.list_entries(session, object_id=None, limit=PAGE_SIZE, after=after or None)
            context = {
                **page_header(session, service.settings, section="audit"),
                "project": service.caller.project_name,
                "entries": found.rows,
                "next": found.next,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "audit.html", context)


@router.get("/usage")
def usage(request: Request, service: ServiceDep) -> HTMLResponse:
    """What the project uses and may use."""
    mine = me(service)
    with service.database.read() as session:
        today = now(session) // accounting.DAY_MS
        days = accounting.device_use(session, service.caller.project, today - DAYS, today)
        header = page_header(session, service.settings, section="usage")
    context = {**header, "me": mine, "lines": _lines(mine, service), "days": [DayUsage.of(day) for day in days]}
    return page(request, "usage.html", context)


def _lines(mine: Me, service: Acting) -> list[tuple[str, str, str]]:
    """`(what, in use, at most)`."""

    def limit(value: int | None) -> str:
        return NO_LIMIT if value is None else f"{value:,}"

    use, may = mine.usage, mine.limits
    return [
        ("queued jobs", f"{use.queued_jobs:,}", limit(may.max_queued_jobs)),
        ("running jobs", f"{use.running_jobs:,}", limit(may.max_running_jobs)),
        ("device seconds today (UTC)", f"{use.device_seconds_today:,.1f}", limit(may.device_seconds_per_day)),
        ("stored bytes", f"{use.stored_bytes:,}", limit(may.max_storage_bytes)),
        ("open streams here", f"{use.streams:,}", limit(may.max_streams)),
        ("jobs of a sweep", "", limit(may.max_sweep_jobs)),
        ("priority", "", limit(may.max_priority)),
        ("seconds of a job", "", limit(may.max_job_seconds)),
        ("requests of a key a minute", "", limit(may.requests_per_minute)),
    ]
