"""`spikesight doctor`: every check answers, and a fault comes with its remedy."""

import socket
from pathlib import Path

import pytest

from app.cli import main
from app.commands import doctor
from tests.support.inputs.data_sets import write_takes


def test_every_check_says_something() -> None:
    for check in doctor.CHECKS:
        findings = list(check())
        assert findings, check.__name__
        assert all(f.text for f in findings)


def test_a_taken_port_is_a_note_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(doctor, "SERVICE_PORT", taken.getsockname()[1])
        (finding,) = doctor.check_port()
    assert finding.state == "note"
    assert "--port" in finding.text


def test_a_fault_is_exit_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([doctor.Finding("FIX", "disk", "full: delete something")]),))
    assert main(["doctor"]) == 1
    assert "full: delete something" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([doctor.Finding("ok", "disk", "empty")]),))
    assert main(["doctor"]) == 0


def test_data_sets_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.data.images.DEBIAN_FASHION", tmp_path / "none")
    missing = list(doctor.check_data_sets("nmnist", str(tmp_path)))
    assert missing[0].state == "FIX"
    every = list(doctor.check_data_sets("all", str(tmp_path)))
    assert {f.state for f in every} == {"note"}
    main(["doctor", "--data", "all", "--root", str(tmp_path)])
    assert "nmnist" in capsys.readouterr().out


def test_dropped_data_is_something_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", ())
    write_takes(tmp_path / "short", ["cup.npz", "phone.npz"], 8)  # gaps of a second each
    found = [f for f in doctor.check_data_sets(str(tmp_path / "short"), "data") if f.state == "FIX"]
    assert len(found) == 1
    assert "of the events are used" in found[0].text
    assert main(["doctor", "--data", str(tmp_path / "short")]) == 1
    write_takes(tmp_path / "long", [f"{name}-{n}.npz" for name in ("cup", "phone") for n in range(3)], 4)
    assert main(["doctor", "--data", str(tmp_path / "long")]) == 0
