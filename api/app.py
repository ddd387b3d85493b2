"""`create_app`: the whole API as one ASGI application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.access import pages as access_pages
from api.access import routes as access
from api.access.admission import guard
from api.compare import pages as compare_pages
from api.compare import routes as compare
from api.datasets import pages as datasets_pages
from api.datasets import routes as datasets
from api.http import problems
from api.http.compression import CompressionMiddleware
from api.http.cors import Cors
from api.http.middleware import RequestMiddleware
from api.http.paths import nearest
from api.http.problems import Problem
from api.jobs import artifacts, history, plot_pages, stream
from api.jobs import pages as jobs_pages
from api.jobs import routes as jobs
from api.models import pages as models_pages
from api.models import routes as models
from api.new import pages as new_pages
from api.openapi import document_of
from api.recipes import pages as recipes_pages
from api.recipes import routes as recipes
from api.resolve import routes as resolve
from api.service import Service
from api.sweeps import pages as sweeps_pages
from api.sweeps import routes as sweeps
from api.system import routes as system
from api.system.probes import Probes
from api.web import errors, openapi_page, static_files
from api.web.html import page
from api.webhooks import pages as webhooks_pages
from api.webhooks import routes as webhooks
from api.workers import pages as workers_pages
from api.workers import routes as workers
from jobs.settings import Settings

ROUTERS = (
    jobs.router,
    history.router,
    stream.router,
    artifacts.router,
    models.router,
    datasets.router,
    recipes.router,
    sweeps.router,
    compare.router,
    resolve.router,
    access.router,
    webhooks.router,
    workers.router,
    system.router,
)
PAGES = (
    jobs_pages.router,
    plot_pages.router,
    new_pages.router,
    models_pages.router,
    datasets_pages.router,
    recipes_pages.router,
    static_files.router,
    sweeps_pages.router,
    compare_pages.router,
    access_pages.router,
    webhooks_pages.router,
    workers_pages.router,
)
"""The dashboard. Pages are rendered on the server and only read; their buttons call the REST API."""


def create_app(settings: Settings) -> FastAPI:
    """The whole API for the database and stores that `settings` name. It connects when its lifespan begins."""
    service = Service.of(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Adderworks",
        version=version("adderworks"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # FastAPI's own route would build the document on the event loop
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.probes = Probes(service)
    app.router.routes.extend(_rooms().routes)
    app.openapi = document_of(app)  # type: ignore[method-assign]
    _add_reference(app)
    for kind in problems.KNOWN:
        app.add_exception_handler(kind, errors.handle)
    app.add_exception_handler(404, _not_found(app))
    app.add_exception_handler(405, _method_not_allowed(app))
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(RequestMiddleware, service=service, respond=errors.respond)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins, prefix=settings.path_prefix)
    return app


@cache
def _rooms() -> APIRouter:
    """The routes of all rooms, the same objects for every app of the process: making them takes 0.1 s of CPU."""
    rooms = APIRouter(generate_unique_id_function=lambda route: "_".join([*map(str, route.tags), route.name]))
    for router in ROUTERS:
        rooms.include_router(router, dependencies=[Depends(guard)])
    for router in PAGES:
        rooms.include_router(router, include_in_schema=False, dependencies=[Depends(guard)])
    for route in rooms.routes:  # FastAPI completes included routes when one is first looked for, on the event loop
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})
    return rooms


def _add_reference(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        document = app.openapi()
        context = {
            "section": "docs",
            "title": openapi_page.title_of(document),
            "contents": openapi_page.contents_of(document),
            "content": openapi_page.render(document),
        }
        return page(request, "docs.html", context)

    @app.get("/openapi.json", include_in_schema=False)
    def document() -> Response:
        return Response(json.dumps(app.openapi()), media_type="application/json")


def _routes(routes: Iterable[Any]) -> Iterator[APIRoute]:
    """All routes, with those of included routers."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (inner := getattr(route, "original_router", None)) is not None:
            yield from _routes(inner.routes)


def _not_found(app: FastAPI) -> Any:
    """A 404 that names the path which was most likely meant."""

    def handle(request: Request, error: Exception) -> Response:
        path, prefix = request.scope["path"], request.app.state.service.settings.path_prefix
        meant = nearest(path, (route.path for route in _routes(app.routes)))
        asked = "." if meant in (None, path) else f"; did you mean {prefix}{meant}?"
        problem = Problem("not_found", f"There is nothing at this path{asked} /docs lists all calls.")
        return errors.respond(request, problem)

    return handle


def _method_not_allowed(app: FastAPI) -> Any:
    """A 405 whose Allow header names all methods of the path (RFC 9110, 15.5.6). Starlette names those of one route."""

    def handle(request: Request, error: Exception) -> Response:
        path = request.scope["path"]
        allowed = {m for route in _routes(app.routes) if route.path_regex.match(path) for m in route.methods or ()}
        if "GET" in allowed:
            allowed.add("HEAD")
        return errors.handle(request, HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))}))

    return handle
