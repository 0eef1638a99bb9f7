"""Attacks by what is asked for and sent (docs/service/security.md): names, origins, tokens, bodies, model files."""

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from unittest.mock import Mock

import pytest

from tests.support.inputs.samples import picture
from tests.support.serving.hostile import BOMBS, FORMS
from tests.support.serving.http import LEAK, TOKEN, alive, body_of, get, post, status_of, talk
from tests.support.serving.servers import resident, running
from tests.support.waiting import until


@pytest.mark.attack(
    "body", "1,001 parts or files, 100 KB part header, `;` form, long preamble, no end, two files", "400 or 413"
)
@pytest.mark.parametrize("name", [*FORMS, "no boundary", "urlencoded"])
def test_hostile_forms_get_400_or_413(port: int, name: str) -> None:
    others = {
        "no boundary": (b"x", "multipart/form-data", (400,)),
        "urlencoded": (b"a;" * 50_000, "application/x-www-form-urlencoded", (415,)),
    }
    body, kind, statuses = others.get(name) or (FORMS[name], "multipart/form-data; boundary=b", (400, 413, 415))
    status, answer = predict(port, body, kind)
    assert status in statuses
    assert list(answer) == ["error"]


@pytest.mark.attack("body", "a client that leaves while sending", "no traceback in the log")
def test_a_client_that_leaves_makes_no_noise(port: int, caplog: pytest.LogCaptureFixture) -> None:
    def answered() -> list[str]:
        """The counters of this route."""
        return re.findall(r"^spikesight_requests_total.*predict.*", talk(port, get("/metrics")).decode(), re.MULTILINE)

    before = answered()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(get("/v1/predict", "Content-Length: 1000", "Content-Type: image/png", method="POST") + b"abc")
        assert alive(port)  # the service has read both requests by now
    until(lambda: answered() != before)
    assert not [record for record in caplog.records if record.exc_info]


def predict(port: int, data: bytes, kind: str = "image/png") -> tuple[int, dict]:
    answer = talk(port, post("/v1/predict", data, f"Content-Type: {kind}"), wait_s=20)
    assert not LEAK.search(answer.decode("latin-1"))
    return status_of(answer), body_of(answer)


@pytest.mark.attack(
    "images",
    "PNG 30000 x 30000 and 16000 x 16000, JPEG 65500 x 65500, WebP 16383 x 16383, BMP 40000 x 40000",
    "413 or 400 from the header, < 50 MB growth",
)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(port: int, name: str) -> None:
    before = resident()
    status, body = predict(port, BOMBS[name])
    assert status in (400, 413)
    assert list(body) == ["error"]
    assert resident() - before < 50_000_000


@pytest.mark.attack("images", "JPEG + HTML polyglot", "200, JSON only")
def test_a_polyglot_is_answered_as_a_picture(port: int) -> None:
    status, body = predict(port, picture(".jpg") + b"<html><script>alert(1)</script></html>")
    assert status == 200
    assert "html" not in json.dumps(body)


@pytest.mark.attack("names and methods", "unknown model; `..%2f`, `%00`, `%2e%2e`, 10 KB name", "404 (or 414)")
@pytest.mark.parametrize(
    "name", ["none", "..%2f", "..%2f..%2fetc%2fpasswd", "%00", "%2e%2e", "a" * 10_000, "tiny%0d%0aX:y"]
)
def test_unknown_names_get_404(port: int, name: str) -> None:
    asked = (f"/v2/models/{name}/infer", "POST"), (f"/v2/models/{name}/ready", "GET"), (f"/samples/{name}", "GET")
    for path, method in asked:
        status = status_of(talk(port, get(path, "Content-Length: 0", method=method)))
        assert status in (404, 414) or (status == 400 and path.startswith("/samples/aaa"))


@pytest.mark.attack(
    "names and methods",
    "`/..%2f` below the page's files",
    "404: each file of the page is a route, nothing else is reachable",
)
@pytest.mark.parametrize(
    "path", ["/..%2f", "/..%2fpyproject.toml", "/%2e%2e/api.py", "/static/../api.py", "/.env", "//etc/passwd"]
)
def test_no_file_outside_the_page_is_served(port: int, path: str) -> None:
    assert status_of(talk(port, get(path))) == 404


@pytest.mark.attack("names and methods", "a request for thousands of ranges", "cheap")
def test_a_range_bomb_is_cheap(port: int) -> None:
    ranges = ",".join(f"{n}-{n + 1}" for n in range(0, 4000, 2))[:15_000]
    answer = talk(port, get("/", f"Range: bytes={ranges}"))
    assert status_of(answer) in (200, 206, 400, 416)
    assert len(answer) < 5_000_000


@pytest.fixture(scope="module")
def sharing() -> Iterator[int]:
    """A service that one other origin may use."""
    with running(allowed_origins=("https://app.example",)) as port:
        yield port


@pytest.mark.attack("host, token, origins", "unknown Origin; preflight", "no CORS header; 400")
@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 400), ("https://app.example", 200)])
def test_allowed_origins_alone_get_cors_headers_and_no_credentials(sharing: int, origin: str, status: int) -> None:
    headers = f"Origin: {origin}", "Access-Control-Request-Method: POST"
    for path, method, expected in (("/v1/models", "GET", 200), ("/v1/predict", "OPTIONS", status)):
        answer = talk(sharing, get(path, *headers, method=method)).lower()
        assert status_of(answer) == expected
        assert (f"access-control-allow-origin: {origin}".encode() in answer) == (status == 200)
        assert b"credentials" not in answer


@pytest.mark.attack(
    "host, token, origins", "no token, wrong token, token in the query", "401 + WWW-Authenticate; constant-time compare"
)
def test_the_token_guards_everything_but_health_and_the_page() -> None:
    with running(token=TOKEN) as port:
        guarded = "/v1/models", "/metrics", "/v2/models/tiny", "/openapi.json", "/v1/a", f"/v1/models?token={TOKEN}"
        for path in guarded:
            answer = talk(port, get(path))
            assert status_of(answer) == 401
            assert b"www-authenticate: Bearer" in answer
        for given in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", "\xff"):
            assert status_of(talk(port, get("/v1/models", f"Authorization: {given}"))) == 401
        for path in ("//v1/models", "http://127.0.0.1/health/../v1/models"):
            assert status_of(talk(port, get(path))) in (400, 401)
        assert status_of(talk(port, get("/v1/models", f"Authorization: Bearer {TOKEN}"))) == 200
        for path in ("/health/live", "/v2/health/live", "/"):
            assert status_of(talk(port, get(path))) == 200


@pytest.mark.attack("answers", "details of the service in error messages", "no path, no `0x`, no traceback")
def test_defects_leak_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = Mock(side_effect=RuntimeError(f"secret at {hex(id(port))} in {__file__}"))
    monkeypatch.setattr("spikesight.service.upload.predict.kind_of", fail)
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/predict", picture(), {"Content-Type": "image/png"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 500
    assert not LEAK.search(text)
    assert "secret" not in text
