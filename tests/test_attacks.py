"""Every row of the attack table (docs/security.md), against a real server: the answer each must get."""

import io
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from serving import picture, running, tiny

from models.checkpoint import CheckpointError
from service.images import decode
from service.registry import find
from service.settings import Settings, SettingsError

TOKEN = "0123456789abcdef"
RECEIVE_S = 0.5
PATIENCE_S = 6.0
LEAK = re.compile(r"0x[0-9a-f]{6,}|Traceback|site-packages|\.py\b|/tmp|/root|/home")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),), receive_s=RECEIVE_S, max_body=200_000, max_connections_per_client=40) as port:
        yield port


def talk(port: int, data: bytes, *, trickle: bytes = b"", wait_s: float = PATIENCE_S) -> bytes:
    """Send, keep trickling, and return all that comes until the server closes."""
    got, end = b"", time.monotonic() + wait_s
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(0.05)
        try:
            peer.sendall(data)
            while time.monotonic() < end:
                try:
                    part = peer.recv(65536)
                    if not part:
                        return got
                    got += part
                except TimeoutError:
                    if trickle:
                        peer.sendall(trickle)
        except (ConnectionError, BrokenPipeError):
            return got
    raise AssertionError(f"still open after {wait_s} s: {got[:200]!r}")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> dict:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def get(path: str, *headers: str, host: str = "127.0.0.1", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path: str, body: bytes, *headers: str) -> bytes:
    head = get(path, f"Content-Length: {len(body)}", *headers, method="POST")
    return head + body


def alive(port: int) -> bool:
    return status_of(talk(port, get("/health/live"))) == 200


def resident() -> int:
    """Resident bytes of this process, which holds the server."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("no /proc: memory is not measured here")
    return int(pages.read_text().split()[1]) * 4096


# Connections.


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"b"),
        (
            b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n",
            b"b",
        ),
        (b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
    ],
    ids=["silent", "slow headers", "slow body", "slow chunks"],
)
def test_slow_senders_get_408(port: int, sent: bytes, trickle: bytes) -> None:
    answer = talk(port, sent, trickle=trickle)
    assert status_of(answer) == 408
    assert list(body_of(answer)) == ["error"]


def test_keep_alive_and_pipelining_live_on(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(5)
        for _ in range(2):
            peer.sendall(request + request)
            got = b""
            while got.count(b'{"live":true}') < 2:
                got += peer.recv(65536)
            time.sleep(RECEIVE_S * 1.5)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["200 KB header", "10,000 headers", "100 KB path"],
)
def test_large_headers_get_431(port: int, sent: bytes) -> None:
    answer = talk(port, sent)
    assert not answer or status_of(answer) == 431  # a client still sending may see a reset instead
    assert alive(port)


def test_an_endless_header_costs_no_memory(port: int) -> None:
    before = resident()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        sent = 0
        try:
            while sent < 50_000_000:
                peer.sendall(b"a" * 100_000)
                sent += 100_000
        except (ConnectionError, BrokenPipeError):
            pass
    assert sent < 10_000_000
    assert resident() - before < 20_000_000


def test_half_open_connections_leave_health_alive(port: int) -> None:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(39)]
    try:
        assert alive(port)
        extra = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        got = [peer.recv(4096) for peer in extra]
        for peer in extra:
            peer.close()
        assert any(answer and status_of(answer) == 503 for answer in got)
    finally:
        for peer in peers:
            peer.close()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if status_of(talk(port, get("/health/live"))) == 200:
            break
        time.sleep(0.05)
    assert alive(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x00\x01\x02 not http\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["length and chunked", "garbage", "version", "negative length", "bad chunk", "http 2"],
)
def test_broken_http_gets_400(port: int, sent: bytes) -> None:
    answer = talk(port, sent)
    assert status_of(answer) == 400
    assert not LEAK.search(answer.decode("latin-1"))


@pytest.mark.parametrize(
    "line", ["GET http://127.0.0.1/health/live", "OPTIONS *", "GET //health/live", "CONNECT a:1", "GET /%"]
)
def test_odd_targets_do_not_crash(port: int, line: str) -> None:
    answer = talk(port, f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) < 500
    assert alive(port)


# Bodies.


def test_bodies_over_the_limit_get_413(port: int) -> None:
    big = bytes(200_001)
    by_length = talk(port, get("/v1/predict", "Content-Length: 200001", "Content-Type: image/png", method="POST"))
    assert status_of(by_length) == 413
    assert list(body_of(by_length)) == ["error"]
    chunk = b"%x\r\n%s\r\n" % (len(big), big)
    chunked = get("/v1/predict", "Transfer-Encoding: chunked", "Content-Type: image/png", method="POST")
    assert status_of(talk(port, chunked + chunk + b"0\r\n\r\n")) == 413
    assert status_of(
        talk(port, get("/v2/models/tiny/infer", "Content-Length: 99999999999999999999", method="POST"))
    ) in (400, 413)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_compressed_bodies_get_415(port: int, encoding: str) -> None:
    body = zlib.compress(bytes(10_000))
    for path in ("/v1/predict", "/v2/models/tiny/infer"):
        assert (
            status_of(talk(port, post(path, body, f"Content-Encoding: {encoding}", "Content-Type: image/png"))) == 415
        )


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n'
FORMS = {
    "1001 parts": form(*[b'Content-Disposition: form-data; name="a"\r\n\r\nb'] * 1001),
    "1001 files": form(*[FILE + b"b"] * 1001),
    "100 KB part header": form(b"X: " + b"a" * 100_000 + b"\r\n" + FILE + b"b"),
    "preamble": b"p" * 190_000 + b"\r\n" + form(FILE + b"b"),
    "semicolons": form(b"Content-Disposition: form-data" + b"; a=b" * 20_000 + b"\r\n\r\nb"),
    "no end": b"--b\r\n" + FILE + b"b",
    "no boundary in body": b"hello",
    "two files": form(FILE + picture(), FILE + picture()),
    "text field": form(b'Content-Disposition: form-data; name="file"\r\n\r\nabc'),
}


@pytest.mark.parametrize("name", FORMS)
def test_hostile_forms_get_400_or_413(port: int, name: str) -> None:
    answer = talk(port, post("/v1/predict", FORMS[name], "Content-Type: multipart/form-data; boundary=b"))
    assert status_of(answer) in (400, 413, 415)
    assert list(body_of(answer)) == ["error"]
    assert not LEAK.search(answer.decode("latin-1"))


def test_urlencoded_semicolons_get_415(port: int) -> None:
    answer = talk(port, post("/v1/predict", b"a;" * 50_000, "Content-Type: application/x-www-form-urlencoded"))
    assert status_of(answer) == 415


def test_a_form_without_boundary_gets_400(port: int) -> None:
    assert status_of(talk(port, post("/v1/predict", b"x", "Content-Type: multipart/form-data"))) == 400


def test_a_client_that_leaves_makes_no_noise(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(get("/v1/predict", "Content-Length: 1000", "Content-Type: image/png", method="POST") + b"abc")
        time.sleep(0.1)
    time.sleep(0.2)
    assert alive(port)
    assert not [record for record in caplog.records if record.exc_info]


# Images.


def predict(port: int, data: bytes, kind: str = "image/png") -> tuple[int, dict]:
    answer = talk(port, post("/v1/predict", data, f"Content-Type: {kind}"), wait_s=20)
    assert not LEAK.search(answer.decode("latin-1"))
    return status_of(answer), body_of(answer)


def png(width: int, height: int, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG whose header promises a size; its data is a few compressed zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_with_size(width: int, height: int) -> bytes:
    data = bytearray(picture(".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_with_size(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = picture(".webp")[12:]
    return (
        b"RIFF"
        + struct.pack("<I", 4 + 18 + len(inner))
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + canvas
        + inner
    )


BOMBS = {
    "30000 x 30000, 1 bit": png(30_000, 30_000),
    "16000 x 16000 RGB": png(16_000, 16_000, 8, 2),
    "2^31 x 1": png(2**31 - 1, 1),
    "JPEG 65500 x 65500": jpeg_with_size(65_500, 65_500),
    "WebP 16383 x 16383": webp_with_size(16_383, 16_383),
    "BMP 40000 x 40000": picture(".bmp")[:18] + struct.pack("<ii", 40_000, 40_000) + picture(".bmp")[26:],
    "PNG 0 x 0": png(0, 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(port: int, name: str) -> None:
    before = resident()
    status, body = predict(port, BOMBS[name])
    assert status in (400, 413)
    assert list(body) == ["error"]
    assert resident() - before < 50_000_000


def test_odd_but_good_images_are_answered(port: int) -> None:
    grey = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    rgba = np.dstack([grey] * 4)
    deep = (np.arange(1200, dtype=np.uint16) * 50).reshape(30, 40)
    for pixels, suffix in ((grey, ".jpg"), (grey, ".png"), (rgba, ".png"), (deep, ".png"), (rgba, ".webp")):
        status, body = predict(port, cv2.imencode(suffix, pixels)[1].tobytes())
        assert status == 200, body
    status, body = predict(port, picture(".jpg") + b"<html><script>alert(1)</script></html>")
    assert status == 200
    assert "html" not in json.dumps(body)


def test_a_cmyk_jpeg_keeps_its_colours(port: int) -> None:
    red = io.BytesIO()
    Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(red, "JPEG")
    assert predict(port, red.getvalue())[0] == 200
    pixels = decode(red.getvalue(), 2**20)
    assert pixels.shape == (30, 40, 3)
    assert np.abs(pixels.reshape(-1, 3).mean(0) - (255, 0, 0)).max() < 60


# Names and methods.


@pytest.mark.parametrize(
    "name", ["none", "..%2f", "..%2f..%2fetc%2fpasswd", "%00", "%2e%2e", "a" * 10_000, "tiny%0d%0aX:y"]
)
def test_unknown_names_get_404(port: int, name: str) -> None:
    for path, method in (
        (f"/v2/models/{name}/infer", "POST"),
        (f"/v2/models/{name}/config", "GET"),
        (f"/samples/{name}", "GET"),
    ):
        status = status_of(talk(port, get(path, "Content-Length: 0", method=method)))
        assert status in (404, 414) or (status == 400 and path.startswith("/samples/aaa"))


@pytest.mark.parametrize(
    "path", ["/..%2f", "/..%2fpyproject.toml", "/%2e%2e/api.py", "/static/../api.py", "/.env", "//etc/passwd"]
)
def test_no_file_outside_the_page_is_served(port: int, path: str) -> None:
    assert status_of(talk(port, get(path))) == 404


def test_a_range_bomb_is_cheap(port: int) -> None:
    ranges = ",".join(f"{n}-{n + 1}" for n in range(0, 4000, 2))[:15_000]
    begin = time.perf_counter()
    answer = talk(port, get("/", f"Range: bytes={ranges}"))
    assert status_of(answer) in (200, 206, 400, 416)
    assert len(answer) < 5_000_000
    assert time.perf_counter() - begin < 5


# Host, token, origins.


@pytest.mark.parametrize("host", ["evil.example", "x/?", "127.0.0.1.evil.example", "a b", "[::1", "", "localhost:99x"])
def test_foreign_hosts_get_400(port: int, host: str) -> None:
    for path in ("/v1/models", "/", "/health/live", "/metrics"):
        answer = talk(port, get(path, host=host))
        assert status_of(answer) == 400
        assert list(body_of(answer)) == ["error"]


def test_rebinding_is_refused(port: int) -> None:
    answer = talk(port, get("/v1/models", "Origin: http://evil.example", host="evil.example"))
    assert status_of(answer) == 400


def test_two_hosts_get_400(port: int) -> None:
    assert status_of(talk(port, get("/v1/models", "Host: evil.example"))) == 400


def test_foreign_origins_get_no_cors_header(port: int) -> None:
    answer = talk(port, get("/v1/models", "Origin: http://evil.example"))
    assert status_of(answer) == 200
    assert b"access-control" not in answer.lower()
    preflight = get(
        "/v1/predict", "Origin: http://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"
    )
    answer = talk(port, preflight)
    assert status_of(answer) == 400
    assert b"access-control" not in answer.lower()


def test_allowed_origins_get_theirs_and_no_credentials() -> None:
    with running(allowed_origins=("https://app.example",)) as port:
        answer = talk(port, get("/v1/models", "Origin: https://app.example"))
        assert b"access-control-allow-origin: https://app.example" in answer
        assert b"credentials" not in answer
        preflight = get(
            "/v1/predict", "Origin: https://app.example", "Access-Control-Request-Method: POST", method="OPTIONS"
        )
        assert status_of(talk(port, preflight)) == 204


def test_the_token_guards_everything_but_health_and_the_page() -> None:
    with running(token=TOKEN) as port:
        for path in ("/v1/models", "/metrics", "/v2", "/v2/models/tiny", "/openapi.json", "/v1/nothing", "//v1/models"):
            answer = talk(port, get(path))
            assert status_of(answer) in ((401, 404) if path == "//v1/models" else (401,)), path
            if status_of(answer) == 401:
                assert b"www-authenticate: Bearer" in answer
        for header in (
            f"Authorization: Bearer {TOKEN}x",
            "Authorization: Bearer",
            f"Authorization: Basic {TOKEN}",
            "Authorization: \xff",
        ):
            assert status_of(talk(port, get("/v1/models", header))) == 401
        assert status_of(talk(port, get(f"/v1/models?token={TOKEN}"))) == 401
        assert status_of(talk(port, get("/v1/models", "Host: x/?", host=""))) == 400
        assert status_of(talk(port, get("http://127.0.0.1/health/../v1/models"))) in (400, 401, 404)
        assert status_of(talk(port, get("/v1/models", f"Authorization: Bearer {TOKEN}"))) == 200
        for path in ("/health/live", "/health/ready", "/v2/health/live", "/"):
            assert status_of(talk(port, get(path))) == 200


def test_open_to_the_network_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(SettingsError, match="SPIKESIGHT_TOKEN"):
            Settings(host=host).check()
    Settings(host="0.0.0.0", token=TOKEN).check()  # type: ignore[arg-type]
    Settings(host="0.0.0.0", insecure=True).check()
    Settings().check()
    with pytest.raises(SettingsError, match="16"):
        Settings(token="short").check()  # type: ignore[arg-type]


# Load.


def test_the_rate_limit_gets_429() -> None:
    with running(requests_per_s=3) as port:
        statuses = [talk(port, get("/v1/models")) for _ in range(8)]
        assert [status_of(answer) for answer in statuses].count(429) >= 3
        refused = next(answer for answer in statuses if status_of(answer) == 429)
        assert b"retry-after: 1" in refused
        assert alive(port)


def test_a_full_queue_gets_503() -> None:
    with running(max_queue=1, max_batch=1) as port:
        answers: list[bytes] = []
        data = post("/v1/predict", picture(size=(400, 300)), "Content-Type: image/png")
        threads = [threading.Thread(target=lambda: answers.append(talk(port, data))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = {status_of(answer) for answer in answers}
        assert statuses == {200, 503}
        assert all(b"retry-after: 1" in answer for answer in answers if status_of(answer) == 503)


def test_a_full_queue_keeps_its_connections() -> None:
    """Refusals come before the body is read; the connection goes on, and so does the count of requests."""
    body = picture(".jpg", size=(400, 300))
    asked = post("/v1/predict", body, "Content-Type: image/jpeg").replace(b"Connection: close\r\n", b"")
    with running(max_queue=1, max_batch=1) as port:

        def ask(peer: socket.socket) -> int:
            peer.sendall(asked)
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            head, _, rest = got.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            while len(rest) < length:
                rest += peer.recv(65536)
            assert status_of(head) == 200 or json.loads(rest) == {"error": "the service is busy: try again in a moment"}
            return status_of(head)

        def client() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
                statuses.extend(ask(peer) for _ in range(10))

        statuses: list[int] = []
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(statuses) == 80
        assert set(statuses) == {200, 503}
        text = talk(port, get("/metrics")).decode()
    refused = next(line for line in text.splitlines() if line.startswith("spikesight_refused_total"))
    assert 0 < float(refused.split()[-1]) <= statuses.count(503)


def test_a_missed_deadline_gets_504() -> None:
    with running(deadline_s=0.001) as port:
        answer = talk(port, post("/v1/predict", picture(size=(800, 600)), "Content-Type: image/png"))
        assert status_of(answer) == 504


# Model files.


def test_hostile_model_files_are_refused(tmp_path: Path) -> None:
    from models.checkpoint import load, save

    good = tiny()
    save(tmp_path / "good", good.network, good.card)
    config = json.loads((tmp_path / "good" / "config.json").read_text())
    weights = (tmp_path / "good" / "model.safetensors").read_bytes()

    def refused(document: object, data: bytes) -> None:
        folder = tmp_path / "bad"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError):
            load(folder)

    refused(config, b"\x80\x04\x95pickle.")
    refused(config, struct.pack("<Q", 2**60) + b"{}")
    refused(config, weights[:-5])
    refused(config, b"")
    refused("{", weights)
    refused({**config, "code": "import os"}, weights)
    refused({**config, "kind": "/etc/passwd"}, weights)
    refused({**config, "kind": "os.system"}, weights)
    network = config["network"]
    refused({**config, "network": {**network, "classes": network["classes"] + 1}}, weights)
    refused({**config, "network": {**network, "auto_map": "x.py"}}, weights)
    with pytest.raises(CheckpointError):
        find("../../etc")


# Answers.


def test_defects_leak_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"secret at {hex(id(port))} in {__file__}")

    monkeypatch.setattr("service.predict.kind_of", fail)
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/predict", picture(), {"Content-Type": "image/png"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 500
    assert not LEAK.search(text)
    assert "secret" not in text
