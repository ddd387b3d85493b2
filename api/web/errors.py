"""How an error is answered: with a page to a browser that opened one, else with problem details (RFC 9457)."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from api.http.accept import preferred
from api.http.problems import KINDS, MEDIA_TYPE, Problem, as_problem
from api.web.html import error_page

PAGE = "text/html"


def handle(request: Request, error: Exception) -> Response:
    """The one handler, registered for all of `problems.KNOWN`."""
    problem = as_problem(error)
    if problem is None:
        raise error
    return respond(request, problem)


def _to_sign_in(request: Request) -> Response:
    """Sends a browser to the sign-in page, from which it comes back here."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'to': here})}", 303, {"Cache-Control": "no-store"})


def respond(request: Request, problem: Problem) -> Response:
    """The answer to a request that met this problem."""
    reading = request.method in ("GET", "HEAD")
    if reading and preferred(request.headers.get("accept"), (MEDIA_TYPE, PAGE)) == PAGE:
        if problem.code == "unauthorized" and "authorization" not in request.headers:
            return _to_sign_in(request)
        answer = error_page(request, problem.status, KINDS[problem.code].title, problem.detail)
        answer.headers.update(problem.headers)
        return answer
    return problem.response(request.app.state.service.settings.path_prefix)
