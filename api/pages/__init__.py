"""The dashboard: pages rendered on the server, read through the repository; scripts only make them live.

`router` holds every page and the static files. Nothing here changes anything: buttons call the REST API.
"""

from fastapi import APIRouter

from api.pages import jobs, models, recipes, static

router = APIRouter(include_in_schema=False)
for part in (jobs, models, recipes, static):
    router.include_router(part.router)

__all__ = ["router"]
