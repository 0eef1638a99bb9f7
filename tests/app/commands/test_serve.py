"""`spikesight serve`: flags over the environment, the address it prints, and mistakes in one sentence."""

import socket

import pytest

from app.cli import main
from app.commands import serve


def test_ways_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"--port {port + 1}" in capsys.readouterr().err
    for flags, says in (
        (["--host", "0.0.0.0"], "SPIKESIGHT_TOKEN"),
        (["--model", "nothing-like-it"], "shipped name"),
        (["--port", "99999"], "port"),
        (["--host", "192.0.2.1", "--insecure"], "cannot listen"),
        (["--token", "short"], "16"),
    ):
        assert main(["serve", "--port", "0", *flags]) == 2
        assert says in capsys.readouterr().err


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    monkeypatch.setenv("SPIKESIGHT_PORT", "9000")
    monkeypatch.setenv("SPIKESIGHT_MAX_BATCH", "5")
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    chosen = serve.settings_from(parser.parse_args(["--port", "9001", "--model", "a", "--model", "b"]))
    assert (chosen.port, chosen.max_batch, chosen.models) == (9001, 5, ("a", "b"))


@pytest.mark.parametrize(
    ("host", "secure", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:80"),
        ("0.0.0.0", False, "http://localhost:80"),
        ("::1", True, "https://[::1]:80"),
        ("box", True, "https://box:80"),
    ],
)
def test_address(host: str, secure: bool, url: str) -> None:
    assert serve.address(host, 80, secure) == url
