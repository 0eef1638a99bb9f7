"""A source by its string: kinds, targets and options, and one sentence for every mistake."""

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.source import parse


@pytest.mark.parametrize(
    ("text", "kind", "target", "port"),
    [
        ("prophesee", "prophesee", "", 0),
        ("usb:00050567", "usb", "00050567", 0),
        ("dv://10.0.0.2:7777", "dv", "10.0.0.2", 7777),
        ("dv+unix:///tmp/a%20b.sock", "dv+unix", "/tmp/a b.sock", 0),
        ("udp://[::1]:3333?format=t32&size=64x48", "udp", "::1", 3333),
        ("file:/a/b.raw?speed=2&loop=1", "file", "/a/b.raw", 0),
    ],
)
def test_addresses(text: str, kind: str, target: str, port: int) -> None:
    address = parse(text)
    assert (address.kind, address.target, address.port) == (kind, target, port)


@pytest.mark.parametrize(
    "text", ["", "camera", "usb:", "file:", "udp://1.2.3.4", "dv://h:99999", "http://a:80", "udp://"]
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
