"""The event contract (what a network must be fed) and the card that is stored with its weights."""

import math
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal

from spikesight.models.novelty import NoveltyDetector
from spikesight.models.novelty.conformal import Conformal
from spikesight.models.novelty.profile import Profile
from spikesight.models.novelty.score import novelty_at


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Contract:
    """What a network must be fed. It is stored with the weights; every part of the pipeline obeys it or refuses."""

    kind: Literal["events", "image"]
    channels: int  # of the network's input; events: 2, channel 0 OFF, 1 ON
    height: int  # of the network's input, pixels
    width: int
    steps: int  # T: steps of a training window, and how often an image is shown
    encoding: str  # events: "binary" or "count"; images: a name in spikesight.encoders.image.IMAGE_ENCODERS
    sensor_width: int = 0  # events: the sensor of the training recordings, pixels
    sensor_height: int = 0
    bin_us: int = 0  # events: length of one step, microseconds
    mean: tuple[float, ...] = ()  # images: normalisation of each channel, for values in [0, 1]
    std: tuple[float, ...] = ()
    still: Literal["plain", "digit", "none"] = "plain"  # how a still image is brought to the input's size; "none": its
    # classes are motions, and a still image has none
    frame: Literal["sensor", "object"] = "sensor"  # events: the whole sensor, or what moves (preprocess/crop)
    filter_us: int = 0  # events: correlation time of the background-activity filter; 0: no filter
    task: Literal["classification", "detection"] = (
        "classification"  # "detection", events: objects are detected in a full
    )
    # frame of 64 pixels or more (models/classifier/tracker.py)
    readout: int = 0  # the answer is the mean of the logits over this many last steps; 0: over the last T
    shortest_bin_us: int = 0  # events: shortest bin at which the same weights run; 0: only at bin_us
    input_us: int = 0  # events: an input shows the events of this time, whatever the bin; 0: those of its bin
    pooled: bool = False  # events: pixels of a much larger sensor are summed to the input's pixels

    def __post_init__(self) -> None:
        if self.kind not in ("events", "image"):
            raise ValueError(f"kind must be 'events' or 'image', not {self.kind!r}")
        if min(self.channels, self.height, self.width, self.steps) < 1:
            raise ValueError("channels, height, width and steps must be positive")
        if max(self.height, self.width) > 2048 or self.steps > 10_000 or self.channels > 64:
            raise ValueError("height and width up to 2048, steps up to 10000, channels up to 64")
        if self.kind == "events" and (
            self.channels != 2 or min(self.sensor_width, self.sensor_height, self.bin_us) < 1
        ):
            raise ValueError("an event contract needs 2 channels, a sensor size and bin_us")
        finite = all(math.isfinite(m) and 0 < s < math.inf for m, s in zip(self.mean, self.std))
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, self.channels) or not finite:
            raise ValueError("mean and std need one entry a channel, all finite, std positive")
        if self.task not in ("classification", "detection") or (self.task == "detection" and self.kind != "events"):
            raise ValueError("task must be 'classification', or 'detection' of events")
        if self.frame not in ("sensor", "object") or (self.frame == "object" and self.kind != "events"):
            raise ValueError("frame must be 'sensor', or 'object' of events")
        if self.pooled and (self.kind != "events" or self.frame == "object"):
            raise ValueError("pooled is for events of a whole sensor")
        if not 0 <= self.filter_us <= 1_000_000:
            raise ValueError("filter_us must lie between 0 and 1000000")
        if not 0 <= self.readout <= self.steps:
            raise ValueError("readout must lie between 0 and steps")
        if self.shortest_bin_us and (self.encoding != "binary" or self.kind != "events"):
            raise ValueError("shortest_bin_us is for binary events")
        if not 0 <= self.shortest_bin_us <= self.bin_us or not (self.input_us == 0 or self.bin_us < self.input_us):
            raise ValueError("shortest_bin_us must lie between 0 and bin_us, input_us be 0 or longer than bin_us")
        if self.shown_bins > 10_000:
            raise ValueError("an input shows the events of up to 10000 bins")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the network's input, (C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def horizon(self) -> int:
        """Number of last steps over which an answer is the mean."""
        return self.readout or self.steps

    @property
    def trained_us(self) -> int:
        """Bin length that the weights were trained at, microseconds."""
        return self.input_us or self.bin_us

    @property
    def span(self) -> float:
        """Length of a step relative to the trained one, in (0, 1]."""
        return self.bin_us / self.trained_us

    @property
    def bins_us(self) -> tuple[int, int]:
        """Shortest and longest bin at which the weights run, microseconds."""
        return self.shortest_bin_us or self.bin_us, self.trained_us

    @property
    def shown_bins(self) -> int:
        """Number of last bins that an input shows."""
        return round(self.trained_us / self.bin_us) if self.kind == "events" else 1

    def at(self, bin_ms: float) -> "Contract":
        """Return the contract at bins of `bin_ms`: window and read-out are as long, in more steps.

        Raises ValueError, in a sentence for the user, if the model does not run at this bin.
        """
        if self.kind != "events":
            raise ValueError("bin_ms is for models of events; this model takes images")
        if not isinstance(bin_ms, Real):
            raise ValueError(f"bin_ms is a number of milliseconds, not {bin_ms!r}")
        shortest, longest = self.bins_us
        bin_us = round(bin_ms * 1000) if 0 < bin_ms < 1e9 else 0
        if bin_us == self.bin_us:
            return self
        if bin_us != longest and (bin_us % 1000 or not shortest <= bin_us <= longest):
            wanted = f"whole milliseconds from {shortest / 1000:g} to {longest / 1000:g}"
            raise ValueError(f"bin_ms must be {wanted if shortest < longest else f'{longest / 1000:g}'} for this model")
        steps, readout = round(self.steps * self.bin_us / bin_us), round(self.readout * self.bin_us / bin_us)
        input_us = 0 if bin_us == self.trained_us else self.trained_us
        return replace(self, bin_us=bin_us, steps=steps, readout=readout, input_us=input_us)


@dataclass(frozen=True)
class Facts:
    """What config.json holds beside the network's shape."""

    contract: Contract
    labels: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)  # data, split, seed, recipe
    metrics: dict[str, Any] = field(default_factory=dict)  # what was measured, on which data, on how many samples
    alarm: float | None = None  # level above which a stream is shifted (models/novelty/alarm.py); None: no alarm
    profile: Profile | None = None  # events: statistics of the training windows

    def facts(self) -> "Facts":
        """Return the facts alone, of a card."""
        return Facts(self.contract, self.labels, self.training, self.metrics, self.alarm, self.profile)


@dataclass(frozen=True)
class Card(Facts):
    """Everything a checkpoint holds beside its weights."""

    novelty: NoveltyDetector | None = field(default=None, compare=False)  # stored with the weights, not in config.json
    conformal: Conformal | None = field(default=None, compare=False)  # likewise

    def at(self, bin_ms: float) -> "Card":
        """Return the card at bins of `bin_ms`. Raises ValueError like `Contract.at`."""
        contract = self.contract.at(bin_ms)
        if contract == self.contract:
            return self
        novelty = self.novelty and novelty_at(self.novelty, contract.bin_us, contract.trained_us, contract.horizon)
        return replace(self, contract=contract, novelty=novelty)
