"""A source by its string, and a camera's settings beside its recordings."""

from pathlib import Path

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.settings import common, differs, is_beside, settings_of, settings_path, write_settings
from spikesight.encoders.sources.source import parse


@pytest.mark.parametrize(
    ("text", "kind", "target", "port"),
    [
        ("prophesee", "prophesee", "", 0),
        ("prophesee:00050567", "prophesee", "00050567", 0),
        ("digit-3", "file", "digit-3", 0),
        ("digit-3?loop=1", "file", "digit-3", 0),
        ("dv://10.0.0.2:7777", "dv", "10.0.0.2", 7777),
        ("dv+unix:///tmp/a%20b.sock", "dv+unix", "/tmp/a b.sock", 0),
        ("udp://[::1]:3333?format=t64&size=64x48", "udp", "::1", 3333),
        ("file:/a/b.raw?speed=2&loop=1", "file", "/a/b.raw", 0),
    ],
)
def test_addresses(text: str, kind: str, target: str, port: int) -> None:
    address = parse(text)
    assert (address.kind, address.target, address.port) == (kind, target, port)


@pytest.mark.parametrize(
    "text",
    ["", "camera", "speck", "usb:7", "digit-9", "file:", "udp://1.2.3.4", "dv://h:99999", "http://a:80", "udp://"],
)
def test_wrong_addresses_get_one_sentence(text: str) -> None:
    with pytest.raises(SourceError, match="is no source"):
        parse(text)


def test_options_have_a_lowest_value() -> None:
    address = parse("udp://h:1?size=64x48&speed=0&rate=2.5&bad=x&low=-1&none=nan")
    assert address.number("speed", 1.0) == 0.0
    assert address.number("rate", 1.0, 2.5) == 2.5
    assert address.number("unsaid", 7.0, 9.0) == 7.0
    for name, lowest, least in (("rate", 2.6, "2.6"), ("bad", 0.0, "0"), ("low", 0.0, "0"), ("none", 0.0, "0")):
        with pytest.raises(SourceError, match=rf"{name}=\S+ in '.*' must be a number of at least {least}"):
            address.number(name, 1.0, lowest)
    assert [parse(f"udp://h:1?{option}").size() for option in ("size=64x48", "size=", "")] == [
        SensorSize(64, 48), None, None
    ]  # fmt: skip
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        parse("udp://h:1?size=5").size()


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
