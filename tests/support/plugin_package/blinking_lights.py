"""A foreign package: a network, a file format, a source of events, a data set and a sink for Spikesight."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from spikesight.encoders.events import EVENTS, Events, SensorSize, make_events
from spikesight.encoders.recordings.format import Format, Opened
from spikesight.encoders.sources.address import Address, SourceEnded
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import make_neuron, name_states
from spikesight.models.neurons.state import State
from spikesight.service.sinks.sink import Message
from spikesight.training.data.recordings import list_folder
from spikesight.training.data.sets import Listing, WindowShape

SIDE, MARK = 16, b"BLINKING LIGHTS\n"
TINY = ResNetConfig("ms", depths=(1,), widths=(8,), pool="max")  # for train-dvs --network lights-tiny


@dataclass(frozen=True)
class MlpConfig:
    inputs: int
    hidden: int = 8
    classes: int = 2
    neuron: NeuronConfig = field(default_factory=NeuronConfig)


class Mlp(nn.Module):
    """One hidden layer of neurons and a linear read-out."""

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config, self.enter = config, nn.Linear(config.inputs, config.hidden)
        self.neuron, self.readout = make_neuron(config.neuron), nn.Linear(config.hidden, config.classes)
        name_states(self)

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        after = dict(state or {})
        return self.readout(self.neuron(self.enter(x_seq.flatten(2)), after)), after


MLP = (MlpConfig, Mlp)


def open_lights(path: Path) -> Opened:
    events = np.frombuffer(path.read_bytes()[len(MARK) :], EVENTS)
    return Opened(SensorSize(SIDE, SIDE), iter([events]))


def write_lights(path: Path, parts: Iterable[Events], size: SensorSize) -> None:  # noqa: ARG001
    path.write_bytes(MARK + b"".join(part.tobytes() for part in parts))


LIGHTS = Format((".lights",), open_lights, write_lights, mark=MARK)


class Lamp:
    """A pixel that blinks three times."""

    def __init__(self, address: Address) -> None:
        self.size, self.left = address.size() or SensorSize(SIDE, SIDE), 3

    def read(self, timeout_s: float) -> Events | None:  # noqa: ARG002
        if not self.left:
            raise SourceEnded
        self.left -= 1
        return make_events([1000 * (3 - self.left)], [4], [4], [True])

    def close(self) -> None:
        pass


def list_corners(root: Path) -> Listing:
    """corners/<left|right>/<n>.lights."""
    return list_folder(root / "corners", "corners", SensorSize(SIDE, SIDE), WindowShape(4, 5_000, SIDE, SIDE))


class Bell:
    """bell:PATH: a dot in a file for every message."""

    def __init__(self, address: str) -> None:
        self.path = Path(address.removeprefix("bell:"))

    def send(self, message: Message) -> None:  # noqa: ARG002
        with self.path.open("a") as file:
            file.write(".")

    def close(self) -> None:
        pass
