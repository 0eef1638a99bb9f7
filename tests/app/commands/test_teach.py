"""`spikesight teach`: sentences or JSON, a model for the other commands, and mistakes."""

import json
from pathlib import Path

import pytest

import spikesight
from spikesight.app.cli import main
from tests.support.inputs.data_sets import write_takes


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> str:
    names = [f"{label}/{number}.npz" for label in ("cup", "phone") for number in range(6)]
    return str(write_takes(tmp_path_factory.mktemp("things"), names, 0.4))


def test_what_is_learnt_is_said_and_a_model(things: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["teach", "--data", things, "--features", "motions"]
    assert main([*words, "--to", str(tmp_path / "few"), "--shots", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["labels"], found["examples"], found["count"]) == (["cup", "phone"], {"cup": 5, "phone": 5}, 10)
    assert [row["count"] for row in found["baselines"]] == [10, 10]
    assert spikesight.load(tmp_path / "few").labels == ("cup", "phone")
    assert main([*words, "--to", str(tmp_path / "all"), "--window-ms", "100"]) == 0
    assert spikesight.load(tmp_path / "all").classifier.card.profile is not None
    out = capsys.readouterr().out
    assert "examples: 24 of cup, 24 of phone" in out
    assert "held out" in out
    assert "ridge on log counts" in out
    assert main(["evaluate", str(tmp_path / "few"), things, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["shared"]) == 10
