"""Resolve the settings of a run: those that were given, and for the others what suits its samples and its start.

`resolve` is called once, when the data are loaded; everything after it reads its result. Only what the first steps of a
run measure, how many epochs fit or that none is needed, comes later, by `planned`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from spikesight.encoders.binning import CEILINGS
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.models.checkpoint import load_plugins, read_config
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig
from spikesight.models.networks.taught import TaughtConfig
from spikesight.models.neurons.config import PRESETS, NeuronConfig
from spikesight.models.shipped import START, starts
from spikesight.training.config import TrainConfig
from spikesight.training.flags import from_mapping

NETWORK = "event-medium"
NEURONS = ("neuron", "beta", "theta", "surrogate", "learn_beta")
INPUT = ("steps", "bin_us", "height", "width", "encoding", "filter_us", "crop")
ENCODINGS: dict[str, Mapping[str, object]] = {"events": CEILINGS, "image": IMAGE_ENCODERS}
"""Encodings by kind of data; the first is the default."""
CROP_SIDE = 32  # pixels of an input that is cropped to what moves
STREAM_CARRY = 0.3  # chance to start from another sample's state: in a stream, membranes are never at rest

EPOCHS, BATCH = 30, 64
MINUTES = 10.0  # of a run that goes on with a model on somebody's own recordings
EPOCH_STEPS, LEAST_BATCH = 50, 16  # of a user's own folder
USUAL = {"shift": 2, "rotate": 10.0, "scale": 0.0, "drop": 0.2}
WIDE, WIDE_SHIFT = {"rotate": 15.0, "scale": 0.15, "drop": 0.3}, 0.08  # in own folders; of the input's shorter side
LR, SCRATCH_LR = 2e-3, 2e-2  # when starting from a model or on a named set of images; otherwise
HEAD_AVERAGE, HEAD_LR = 0.99, 2e-4  # of a head and its network: decay of the weights' moving average, and peak rate


@dataclass(frozen=True)
class WindowShape:
    """Bins and input size that suit a data set; a run may choose others."""

    steps: int  # T
    bin_us: int
    height: int
    width: int
    shortest_bin_us: int = 0  # at which LIF neurons trained at bin_us may run as well; 0: only bin_us
    crop: str = "none"  # or "object": a square around what moves


@dataclass(frozen=True)
class Facts:
    """What a data set tells of the settings that suit it."""

    name: str
    kind: Literal["events", "image"]
    own: bool  # somebody's own recordings or pictures: few, and of any classes
    window: WindowShape
    samples: Callable[[TrainConfig], int]  # training samples, with bins and input size as they are resolved
    cut: bool = False  # into windows: continuous recordings, of which `window_ms` may set the window


@dataclass(frozen=True)
class Start:
    """The model that a run starts from, by its card; the default: random weights."""

    name: str | None = None  # of a shipped model, or its folder
    recipe: dict[str, Any] = field(default_factory=dict)  # its training's settings; empty if they are unknown
    network: ResNetConfig | None = None  # what gives features to a head; None if it cannot


def weights_path(text: str) -> Path:
    """Return the path of the weights that a setting names: a shipped model's name, else a file or a model's folder.

    As everywhere a shipped name comes first: what lies here under that name is given as a path, ./nmnist.
    """
    return starts().get(text, Path(text))


def name_of_start(config: TrainConfig) -> str:
    """Return in words whose weights a run starts from."""
    if not config.init_from:
        return "random weights"
    return f"the shipped {config.init_from}" if config.init_from in starts() else Path(config.init_from).name


def network_name(config: TrainConfig) -> str:
    """Return the network that the settings name, else that of the model they start from."""
    return config.network or read_start(config.init_from).recipe.get("network", NETWORK)


def read_start(name: str | None) -> Start:
    """Read the card of the model to start from. Raises CheckpointError."""
    path = weights_path(name) if name else None
    if path is None or not path.is_dir():
        return Start(name)
    _, network, card = read_config(path)
    recipe, network = card.training.get("recipe"), network.backbone if isinstance(network, TaughtConfig) else network
    spiking = isinstance(network, ResNetConfig) and network.neuron.kind != "relu" and network.in_channels == 2
    gives = network if spiking and card.contract.kind == "events" else None
    return Start(name, recipe if isinstance(recipe, dict) else {}, gives)


def start_of(given: TrainConfig, *, own: bool) -> Start:
    """Return the model to start from. A user's `own` recordings start from the shipped START, unless the settings
    choose a network, neurons or a loss. Raises CheckpointError.
    """
    usual = own and not _changed(given, "network", "loss", *NEURONS)
    return read_start(given.init_from or (START if usual else None))


def resolve(given: TrainConfig, facts: Facts, start: Start) -> TrainConfig:
    """Return the complete settings of a run; what was given stays. Raises ValueError for settings that do not fit."""
    brought = from_mapping(given, _brought(given, facts, start), f"the recipe of {start.name}")
    config = replace(brought, **_input(brought, facts))
    return replace(config, **_schedule(config, facts, start))


def planned(config: TrainConfig, epochs: int, steps: int = 0, minutes: float = 0.0) -> TrainConfig:
    """Return the settings of a run with the plan that its beginning told: to train `epochs` of `steps` that fit into
    `minutes`, of which a tenth warms up if they are few; or with 0 epochs not to train.
    """
    if not epochs:
        return replace(config, epochs=0)
    warmup = min(config.warmup_epochs, epochs / 10)
    return replace(config, epochs=epochs, epoch_steps=steps, minutes=minutes, warmup_epochs=warmup)


def _brought(given: TrainConfig, facts: Facts, start: Start) -> dict[str, Any]:
    """Return the network, and the neurons and input that a model to start from brings; its input not for images.

    A model brings nothing else if a network is named or if it was not asked for; an ANN gives its shape alone.
    """
    recipe = start.recipe
    found = {"init_from": start.name, "network": given.network or recipe.get("network", NETWORK)}
    if given.network or not given.init_from or recipe.get("neuron") == "relu":
        return found
    kept = {"height", "width"} if given.crop not in (None, recipe.get("crop", "none")) else set[str]()
    kept |= {"steps"} if given.window_ms else set()
    names = NEURONS if facts.kind == "image" else (*NEURONS, *INPUT)
    fits = [name for name in names if name in recipe and name not in kept and not _changed(given, name)]
    return found | {name: recipe[name] for name in fits}


def _input(config: TrainConfig, facts: Facts) -> dict[str, Any]:
    """Return bins, input size, encoding and carry: those that the settings leave open as they suit the data set."""
    window, known, events = facts.window, ENCODINGS[facts.kind], facts.kind == "events"
    encoding = config.encoding or next(iter(known))
    if encoding not in known:
        raise ValueError(f"--encoding for {facts.name} must be one of {', '.join(known)}, not {encoding!r}")
    crop = config.crop or ("none" if encoding != "binary" else window.crop)
    height, width = (CROP_SIDE, CROP_SIDE) if events and crop == "object" else (window.height, window.width)
    steps, bin_us = _bins(config, window, config.window_ms * 1000 if facts.cut and config.window_ms else 0)
    carry = (STREAM_CARRY if events else 0.0) if config.carry is None else config.carry
    size = {"height": config.height or height, "width": config.width or width}
    return {"steps": steps, "bin_us": bin_us, **size, "crop": crop, "encoding": encoding, "carry": carry}


def _bins(config: TrainConfig, window: WindowShape, window_us: int) -> tuple[int, int | None]:
    """Return (steps, length of a bin in microseconds); `window_us`: the window that is asked for, 0 for none."""
    steps, bin_us = config.steps or window.steps, config.bin_us
    if window_us and bin_us and not config.steps:
        steps = max(1, window_us // bin_us)
    elif window_us and not bin_us:
        bin_us = max(1, window_us // steps)
    elif window_us and bin_us != max(1, window_us // steps) and steps != max(1, window_us // bin_us):
        raise ValueError(
            f"--window-ms {config.window_ms} is not --steps {steps} times --bin-us {bin_us}: leave one out"
        )
    return steps, bin_us or window.bin_us or None


def _schedule(config: TrainConfig, facts: Facts, start: Start) -> dict[str, Any]:
    """Return epochs, batch size, steps an epoch and augmentation, those left open as they suit the training samples.

    A network needs a certain number of steps: an epoch of a user's small own folder is several passes in small batches,
    with wider augmentation. A head and its network learn slowly, and get their moving average.
    """
    samples, images = facts.samples(config), facts.kind == "image"
    suits: dict[str, Any] = {"epochs": EPOCHS, "lr": SCRATCH_LR, "batch_size": BATCH, **USUAL}
    if config.init_from or (images and not facts.own):
        suits["lr"] = LR
    if facts.own:
        suits["batch_size"] = suited_batch(samples)
        suits["epoch_steps"] = max(EPOCH_STEPS, samples // (config.batch_size or suits["batch_size"]))
        suits |= {**WIDE, "shift": round(WIDE_SHIFT * min(config.height, config.width))}
        suits |= {"scale": 0.0} if images else {}
    forced: dict[str, Any] = {}
    if facts.own and begins_with_head(config, start):
        suits["lr"], forced = HEAD_LR, {"loss": "mean", "ema": config.ema or HEAD_AVERAGE}
    return {name: value for name, value in suits.items() if getattr(config, name) is None} | forced


def suited_batch(samples: int) -> int:
    """Return the batch size that suits a folder of so many samples.

    >>> [suited_batch(samples) for samples in (20, 800, 1600, 100_000)]
    [16, 16, 32, 64]
    """
    return min(BATCH, max(LEAST_BATCH, samples // EPOCH_STEPS // LEAST_BATCH * LEAST_BATCH))


def begins_with_head(config: TrainConfig, start: Start) -> bool:
    """Return whether a run on own data begins with a head: on binary events, and on its start's network as that is."""
    if start.network is None or config.encoding != "binary":
        return False
    return shape_of(config, start.network.classes) == replace(start.network, read="mean")


def shape_of(config: TrainConfig, classes: int, channels: int = 2) -> ResNetConfig:
    """Return the shape of the network that the settings name. Raises ValueError."""
    name = network_name(config)
    if name not in NETWORKS:
        load_plugins()
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
    return replace(NETWORKS[name], in_channels=channels, classes=classes, neuron=neuron_config(config))


def neuron_config(config: TrainConfig) -> NeuronConfig:
    """Return the neuron model that the settings ask for."""
    start = PRESETS.get(config.neuron) or NeuronConfig(kind=config.neuron)
    surrogate, _, slope = config.surrogate.partition(":")
    options = {"surrogate": surrogate, "slope": float(slope) if slope else None, "theta": config.theta}
    if config.neuron not in ("if", "psn", "relu"):
        options["beta"] = config.beta
    if config.learn_beta:
        options["learn_beta"] = True
    return replace(start, **options)


def _changed(config: TrainConfig, *names: str) -> bool:
    """Return whether any of these settings differs from its default."""
    return any(getattr(config, name) != getattr(TrainConfig, name) for name in names)
