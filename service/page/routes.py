"""Routes of the web page's files, collected when the app is created; no other file can be requested."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

PAGE = Path(__file__).parent


def router() -> APIRouter:
    """Return the routes: `/` is live/index.html; each other file of live and shared has its path below this folder."""
    routes = APIRouter()
    files = StaticFiles(directory=PAGE)
    for folder in ("live", "shared"):
        for path in sorted((PAGE / folder).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                add_file(routes, files, path.relative_to(PAGE).as_posix())
    return routes


def add_file(routes: APIRouter, files: StaticFiles, name: str) -> None:
    """Add a route for one file, with StaticFiles' support for conditional requests and ranges."""

    async def send(request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # revalidate each time, usually answered by 304
        return response

    routes.add_route("/" if name == "live/index.html" else f"/{name}", send, methods=["GET"], include_in_schema=False)
