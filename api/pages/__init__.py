"""The dashboard: pages rendered on the server, read through the repository; scripts only make them live.

`router` holds every page and the static files. Nothing here changes anything: buttons call the REST API.
"""

from fastapi import APIRouter

from api.pages import compare, datasets, jobs, models, recipes, static, sweeps

router = APIRouter(include_in_schema=False)
for part in (jobs, models, datasets, recipes, static, sweeps, compare):
    router.include_router(part.router)

__all__ = ["router"]
