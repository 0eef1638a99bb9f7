"""`spikesight serve`: flags over the environment, the address it prints, and mistakes in one sentence."""

import argparse
import os
import socket
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import serve
from spikesight.models.native.threads import use_threads
from spikesight.service.settings import Settings


def test_ways_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"--port {port + 1}" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{")
    for flags, says in (
        (["--host", "0.0.0.0"], "SPIKESIGHT_TOKEN"),
        (["--model", "nothing-like-it"], "shipped name"),
        (["--model", str(tmp_path)], "not JSON"),
        (["--port", "99999"], "port"),
        (["--host", "192.0.2.1", "--insecure"], "cannot listen"),
        (["--token", "short"], "16"),
        (["--model", "nmnist", "--model", "nmnist"], "two models"),
        (["--to", "file:x"], "--camera"),
        (["--to", "nowhere", "--camera", "udp://127.0.0.1:9?size=8x8"], "no place to send to"),
    ):
        assert main(["serve", "--port", "0", *flags]) == 2
        said = capsys.readouterr().err
        assert says in said.splitlines()[-1]
        assert "Traceback" not in said


def given(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(words)


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_PORT", "9000")
    monkeypatch.setenv("SPIKESIGHT_MAX_BATCH", "5")
    chosen = serve.settings_from(given("--port", "9001", "--model", "a", "--model", "b"))
    assert (chosen.port, chosen.max_batch, chosen.models) == (9001, 5, ("a", "b"))


def test_addresses() -> None:
    for host, name in {"127.0.0.1": "127.0.0.1", "0.0.0.0": "localhost", "::1": "[::1]", "box": "box"}.items():
        assert serve.address(host, 80) == f"http://{name}:80"


def test_every_flag_reaches_its_setting(tmp_path: Path) -> None:
    words = f"""--model m --host box --port 1 --token 0123456789abcdef --insecure --allow-host h --allow-origin https://o
        --camera c --bin-ms 2.5 --save-to {tmp_path} --to file:x --every-step --max-batch 3 --max-queue 4 --threads 5
        --log-format json --trusted-proxy 10.0.0.1"""
    chosen = serve.settings_from(given(*words.split()))
    wanted = {
        "models": ("m",), "host": "box", "port": 1, "insecure": True, "allowed_hosts": ("h",),
        "allowed_origins": ("https://o",), "cameras": ("c",), "camera_bin_ms": 2.5, "sinks": ("file:x",),
        "sinks_every_step": True, "max_batch": 3, "max_queue": 4, "threads": 5, "log_format": "json",
        "trusted_proxies": ("10.0.0.1",), "save_to": tmp_path,
    }  # fmt: skip
    assert {name: getattr(chosen, name) for name in wanted} == wanted
    assert chosen.token is not None
    assert serve.settings_from(given()) == Settings()


@pytest.mark.parametrize(("words", "threads"), [([], "1"), (["--threads", "3"], "3")])
def test_libraries_are_told_before_import(words: list[str], threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", environment := {})
    monkeypatch.setattr(serve, "serve_on", lambda sock, *_: sock.getsockname()[0] == "127.0.0.1")
    assert serve.run(given("--port", "0", *words))
    use_threads(None)
    assert environment["OMP_NUM_THREADS"] == threads
    assert "OPENCV_IO_MAX_IMAGE_PIXELS" in environment


def test_a_port_that_was_just_left_is_taken_again() -> None:
    server = serve.listen("127.0.0.1", 0)
    port = server.getsockname()[1]
    server.listen()
    with socket.create_connection(("127.0.0.1", port)):
        server.accept()[0].close()  # ends the connection first: the port rests for a minute
    server.close()
    serve.listen("127.0.0.1", port).close()
    with serve.listen("::1", 0) as sock:
        assert sock.family == socket.AF_INET6
