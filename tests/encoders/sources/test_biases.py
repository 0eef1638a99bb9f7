"""Biases one by one: against a stand-in's camera, with the library's own configurations where it is installed."""

import dataclasses
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.sources.address import SourceError, SourceLost
from spikesight.encoders.sources.biases import BiasedDriver, configured
from spikesight.encoders.sources.source import open_source, parse
from tests.support.inputs.sources import SENSOR


@dataclasses.dataclass
class Biases:
    diff_on: int = 0
    diff_off: int = 0
    fo: int = 7


@dataclasses.dataclass
class Configuration:
    biases: Biases = dataclasses.field(default_factory=Biases)
    rate_limiter: Any = None


EVK4 = SimpleNamespace(Configuration=Configuration, RateLimiter=lambda period, most: (period, most))
DTYPE = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")]


def stand_in(packets: list[Any], **flaws: Any) -> SimpleNamespace:
    """neuromorphic-drivers with one camera that gives these packets."""
    asked: dict[str, Any] = {}

    class Camera:
        def properties(self) -> Any:
            return SENSOR

        def __next__(self) -> Any:
            if not packets:
                raise RuntimeError("gone")
            return "status", packets.pop(0)

        def __exit__(self, *_: object) -> None:
            asked["closed"] = True

    def opened(**options: Any) -> Camera:
        asked.update(options)
        if "open" in flaws:
            raise RuntimeError("busy")
        return Camera()

    name = SimpleNamespace(name="PROPHESEE_EVK4", value="Prophesee EVK4")
    cameras = [SimpleNamespace(name=name, serial="42"), SimpleNamespace(name=name, serial=None)]
    listed = lambda: flaws.get("cameras", cameras)  # noqa: E731
    return SimpleNamespace(list_devices=listed, open=opened, prophesee_evk4=EVK4, asked=asked)


@pytest.mark.parametrize("text", ["prophesee", "usb:42"])
def test_biases_reach_the_camera_and_events_come_back(text: str) -> None:
    events = np.array([(5, 1, 2, True), (6, 3, 4, False)], DTYPE)
    packets = [SimpleNamespace(polarity_events=events), SimpleNamespace(polarity_events=None), None]
    library = stand_in(packets)
    driver = BiasedDriver(parse(f"{text}?bias.diff_on=30&bias.diff_off=-20&rate=5000000"), library)
    assert library.asked["configuration"] == Configuration(Biases(30, -20, 7), (1000, 5000))
    assert driver.size == SENSOR
    assert driver.settings["biases"] == {"diff_on": 30, "diff_off": -20, "fo": 7}
    assert driver.settings["serial"] == "42"
    found = driver.read(0.1)
    assert found is not None
    assert found.tolist() == [(5, 1, 2, True), (6, 3, 4, False)]
    assert driver.read(0.1) is None
    assert driver.read(0.1) is None
    with pytest.raises(SourceLost):
        driver.read(0.1)
    driver.close()
    assert library.asked["closed"]


def test_a_file_of_biases(tmp_path: Path) -> None:
    path = tmp_path / "indoor.bias"
    path.write_text("-10  % bias_diff_on\n12 % bias_diff_off\n\n")
    library = stand_in([])
    BiasedDriver(parse(f"prophesee?biases={path}&bias.diff_off=3"), library)
    assert library.asked["configuration"].biases == Biases(-10, 3, 7)
    path.write_text("bias_diff_on = 3\n")
    with pytest.raises(SourceError, match="VALUE % bias_NAME"):
        BiasedDriver(parse(f"prophesee?biases={path}"), library)
    with pytest.raises(SourceError, match="cannot be read"):
        BiasedDriver(parse("prophesee?biases=none.bias"), library)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prophesee?bias.speed=3", "no bias 'speed': it has diff_on, diff_off, fo"),
        ("prophesee?bias.fo=high", "must be a whole number"),
        ("prophesee?bias.fo=1&roi=0,0,9,9", "do not go with"),
        ("prophesee?bias.fo=1&bias=adaptive", "do not go with"),
        ("usb:7?bias.fo=1", r"plugged in: Prophesee EVK4 \(usb:42\)"),
        ("inivation?bias.fo=1", "there is no camera 'inivation"),
    ],
)
def test_what_cannot_be_set_says_so(text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        BiasedDriver(parse(text), stand_in([]))


def test_the_library_s_own_configurations_take_them() -> None:
    library = pytest.importorskip("neuromorphic_drivers", reason="needs neuromorphic-drivers: spikesight[cameras]")
    made = configured(library.prophesee_evk4, parse("prophesee?bias.diff_on=30&rate=5000000"))
    assert (made.biases.diff_on, made.rate_limiter.maximum_events_per_period) == (30, 5000)
    assert len(made.serialize()) == len(library.prophesee_evk4.Configuration().serialize()) + 6
    assert {"serial", "configuration", "iterator_timeout"} <= set(inspect.signature(library.open).parameters)
    with pytest.raises(SourceError, match=r"No event camera found|no camera 'usb:nobody"):
        open_source("usb:nobody?bias.diff_on=30")
