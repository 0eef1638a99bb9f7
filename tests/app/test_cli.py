"""The command line: help that teaches, usage errors in one sentence, documented exit codes."""

import argparse
import io
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import spikesight
from spikesight.app import cli

ALL = pytest.mark.parametrize("name", cli.COMMANDS)


@ALL
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"spikesight {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("no such thing"), 2, "no such thing"),
        (OSError("disk full"), 2, "disk full"),
        (KeyboardInterrupt(), 130, "stopped"),
        (BrokenPipeError(), 1, ""),  # the reader of the output has gone
    ],
)
def test_errors_become_exit_codes(error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> int:
        raise error

    class Errors(io.StringIO):
        def close(self) -> None:
            closed.append(self.getvalue())

    closed, errors = list[str](), Errors()
    broken = SimpleNamespace(DESCRIPTION="fails", configure=lambda _: None, run=run)
    monkeypatch.setattr(cli, "module_of", lambda _: broken)
    monkeypatch.setitem(cli.COMMANDS, "broken", ("broken", "fails"))
    monkeypatch.setattr(sys, "stderr", errors)
    assert cli.main(["broken"]) == code
    assert said in errors.getvalue()
    assert closed == ([""] if code == 1 else [])


@pytest.mark.parametrize(("name", "encoding"), [("caf\udce9.csv", "utf-8"), ("\u30b0.csv", "latin-1")])
def test_a_name_that_the_terminal_cannot_show_is_no_error(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("t,x,y,p\n1,2,3,1\n")
    monkeypatch.setattr(sys, "stdout", said := io.TextIOWrapper(io.BytesIO(), encoding))
    assert cli.main(["info", str(tmp_path / name)]) == 0
    said.seek(0)
    assert said.read().startswith(f"{tmp_path}/{name}".encode("ascii", "backslashreplace").decode())


def test_ctrl_c_while_a_command_is_loaded_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loading(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "module_of", loading)
    assert cli.main(["info", "a.raw"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_the_package_is_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["spikesight", "info", "nowhere.raw"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("spikesight", run_name="__main__")
    assert stop.value.code == 2
    assert "nowhere.raw" in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.split() == ["spikesight", spikesight.__version__]
