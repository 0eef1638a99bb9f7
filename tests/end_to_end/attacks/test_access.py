"""What may be reached (docs/service/security.md): names, hosts, origins, the token, and what answers leak."""

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.support.inputs.samples import picture
from tests.support.serving.http import LEAK, TOKEN, get, status_of, talk
from tests.support.serving.servers import running


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
    "names and methods", "static `/..%2f`", "404: each file of the page is a route, nothing else is reachable"
)
@pytest.mark.parametrize(
    "path", ["/..%2f", "/..%2fpyproject.toml", "/%2e%2e/api.py", "/static/../api.py", "/.env", "//etc/passwd"]
)
def test_no_file_outside_the_page_is_served(port: int, path: str) -> None:
    assert status_of(talk(port, get(path))) == 404


@pytest.mark.attack("names and methods", "Range bomb", "cheap")
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
@pytest.mark.attack("host, token, origins", "metrics, OpenAPI without token", "401")
def test_the_token_guards_everything_but_health_and_the_page() -> None:
    with running(token=TOKEN) as port:
        for path in (
            "/v1/models",
            "/metrics",
            "/v2/models/tiny",
            "/openapi.json",
            "/v1/a",
            f"/v1/models?token={TOKEN}",
        ):
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


@pytest.mark.attack("answers", "every error", "no path, no `0x`, no traceback")
def test_defects_leak_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"secret at {hex(id(port))} in {__file__}")

    monkeypatch.setattr("spikesight.service.upload.predict.kind_of", fail)
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/predict", picture(), {"Content-Type": "image/png"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 500
    assert not LEAK.search(text)
    assert "secret" not in text
