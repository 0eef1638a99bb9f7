"""A camera's settings beside its recordings, read whatever lies there, and what two of them differ in."""

from pathlib import Path

import pytest

from spikesight.encoders.sources.settings import common, differs, is_beside, settings_of, settings_path, write_settings

INDOOR = {"camera": "EVK4", "serial": "42", "biases": {"diff_on": 0, "fo": 7}, "lens": "8 mm"}


def test_what_is_written_is_read_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_settings(tmp_path / "walk.raw", INDOOR)
    assert settings_of(tmp_path / "walk.raw") == INDOOR
    assert settings_of(tmp_path / "run.raw") == {}
    assert list(tmp_path.iterdir()) == [settings_path(tmp_path / "walk.raw")]
    assert is_beside(tmp_path / "walk.raw.camera.json")
    assert not is_beside(tmp_path / "walk.raw")


def test_biases_of_the_makers_own_program(tmp_path: Path) -> None:
    (tmp_path / "walk.bias").write_text("12 % bias_diff_on\n-3 % bias_fo\n")
    assert settings_of(tmp_path / "walk.raw") == {"biases": {"diff_on": 12, "fo": -3}}


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"a": "' + "b" * 100_000 + '"}'])
def test_what_is_no_such_file_says_nothing(tmp_path: Path, text: str) -> None:
    settings_path(tmp_path / "walk.raw").write_text(text)
    assert settings_of(tmp_path / "walk.raw") == {}
    (tmp_path / "run.bias").write_text(text or "no biases")
    assert settings_of(tmp_path / "run.raw") == {}


def test_what_all_recordings_share(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.raw", "b.raw")]
    write_settings(paths[0], INDOOR)
    write_settings(paths[1], INDOOR | {"serial": "43"})
    assert common(paths) == {name: value for name, value in INDOOR.items() if name != "serial"}
    assert common([*paths, tmp_path / "c.raw"]) == {}
    assert common([]) == {}


def test_differences_are_named_and_what_is_not_known_is_none() -> None:
    other = {"serial": "43", "biases": {"diff_on": 30, "fo": 7, "hpf": 1}}
    assert differs(INDOOR, other) == (
        "another camera, or other settings, than this model learnt from: serial 43 in place of 42, "
        "bias diff_on 30 in place of 0"
    )
    for same in (INDOOR, {}, {"biases": {"diff_on": 0}}, {"biases": 3}):
        assert differs(INDOOR, same) is None
    assert differs({}, INDOOR) is None
    assert differs([1], INDOOR) is None  # type: ignore[arg-type]
