"""The short way to a route: what it takes, what it leaves to the framework, and the same answers to errors."""

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spikesight.service.api import create_app
from spikesight.service.http.fast_path import FastPath
from tests.support.inputs.samples import picture
from tests.support.models import tiny
from tests.support.serving.servers import settings


async def answered(request: Request) -> Response:
    return PlainTextResponse("framework" if "router" in request.scope else "direct")


def test_only_a_plain_post_takes_the_short_way() -> None:
    routes = [Route("/a", answered, methods=["GET", "POST"]), Route("/b", answered, methods=["POST"])]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(FastPath, routes={"/a": answered})]))
    assert client.post("/a").text == "direct"
    assert client.post("/a?x=1").text == client.get("/a").text == client.post("/b").text == "framework"


@pytest.mark.parametrize("body", [picture(), b"", b"GIF89a"])
def test_both_ways_answer_alike(body: bytes) -> None:
    with TestClient(create_app(settings(), (tiny(),))) as client:
        short, long = client.post("/v1/predict", content=body), client.post("/v1/predict?logits=0", content=body)
    assert short.status_code == long.status_code
    timed = {"latency_ms": 0, "queue_ms": 0} if short.status_code == 200 else {}
    assert short.json() | timed == long.json() | timed
