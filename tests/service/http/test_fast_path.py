"""The short way to a route: what it takes, what it leaves to the framework, and the same answers to errors."""

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spikesight.service.api import create_app
from spikesight.service.http.errors import Overloaded
from spikesight.service.http.fast_path import FastPath
from tests.support.inputs.samples import picture
from tests.support.models import tiny
from tests.support.serving.servers import settings


async def framework(_: Request) -> Response:
    return PlainTextResponse("framework")


def answering(error: Exception | None = None) -> TestClient:
    async def short(_: Request) -> Response:
        if error is not None:
            raise error
        return PlainTextResponse("direct")

    routes = [Route("/a", framework, methods=["GET", "POST"]), Route("/b", framework, methods=["POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(FastPath, routes={"/a": short})])
    return TestClient(app, raise_server_exceptions=False)


def test_only_a_plain_post_takes_the_short_way() -> None:
    client = answering()
    assert client.post("/a").text == "direct"
    assert client.post("/a?x=1").text == client.get("/a").text == client.post("/b").text == "framework"


def test_errors_get_the_same_answers() -> None:
    refused = answering(Overloaded()).post("/a")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    defect = answering(ZeroDivisionError("secret")).post("/a")
    assert defect.status_code == 500
    assert "secret" not in defect.text


@pytest.mark.parametrize("body", [picture(), b"", b"GIF89a"])
def test_both_ways_answer_alike(body: bytes) -> None:
    with TestClient(create_app(settings(), (tiny(),))) as client:
        short, long = client.post("/v1/predict", content=body), client.post("/v1/predict?logits=0", content=body)
    assert short.status_code == long.status_code
    timed = {"latency_ms", "queue_ms"}
    assert {k: v for k, v in short.json().items() if k not in timed} == {
        k: v for k, v in long.json().items() if k not in timed
    }
