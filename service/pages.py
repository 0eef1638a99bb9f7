"""The page's own files: each one a route, read from service/static when the app is made; nothing else is reachable."""

from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"


def add(app: FastAPI, folder: Path = STATIC) -> None:
    """A route for every file of the folder; `/` is its index.html."""
    if not folder.is_dir():
        return
    files = StaticFiles(directory=folder)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            add_file(app, files, path.relative_to(folder).as_posix())


def add_file(app: FastAPI, files: StaticFiles, name: str) -> None:
    """One file, with the conditional answers and ranges of StaticFiles."""

    async def send(request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # ask again, answered by 304
        return response

    app.add_route("/" if name == "index.html" else f"/{name}", send, methods=["GET"], include_in_schema=False)
