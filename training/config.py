"""Everything a training run can be told, one field a flag, a comment a field."""

import argparse
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. Order of precedence: these defaults, then --config FILE.yaml, then flags."""

    # data
    data: str = "nmnist"  # a data set's name, or a folder laid out <class>/<file> (or train/<class>, test/<class>)
    root: str = "data"  # where named data sets lie
    val_fraction: float = 0.15  # share of the training recordings that choose the model
    test_fraction: float = 0.15  # share set aside for the test where the data has no test split of its own
    emulated: Literal["", "mnist"] = ""  # images that join the training set as emulated events
    emulated_root: str = ""  # where those images lie (default: root)
    emulated_count: int = 10_000  # how many of them
    repeat: int = 1  # how often each recording stands in the training set beside emulated ones
    cache: str = ".cache"  # folder of binned frames
    # the event contract
    steps: int = 10  # T, bins of a window
    bin_us: int = 31_000  # one bin, microseconds
    height: int = 34  # of the network's input, pixels
    width: int = 34
    encoding: str = "binary"  # binary or count
    # network
    network: str = "event-medium"  # a name from `spikesight models`
    beta: float = 0.5  # leak a step
    surrogate: str = "arctan"  # arctan, fast_sigmoid, sigmoid, triangular, rectangular
    learn_beta: bool = False  # PLIF: the leak is learnt, one a layer
    # optimisation
    epochs: int = 30
    batch_size: int = 64
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-3  # peak; warm-up, then cosine to 0
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    loss: Literal["mean", "tet"] = "tet"  # cross-entropy of the mean logits, or of every step (TET)
    label_smoothing: float = 0.0
    carry: float = 0.0  # chance that a sample starts with the membranes another one left, as in a stream
    spike_penalty: float = 0.0  # weight of the mean firing rate in the loss
    clip_norm: float = 1.0  # gradient norm; 0 is off
    ema: float = 0.0  # decay of the moving average of weights that is evaluated and shipped; 0 is off
    # augmentation of the training windows
    shift: int = 2  # pixels, each way
    rotate: float = 10.0  # degrees, each way
    drop: float = 0.2  # highest share of events dropped from a window
    flip: bool = False  # mirror left and right (not for digits or gestures with a direction)
    # the run
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0  # torch threads; 0 leaves torch's choice
    output: str = "runs"  # folder of run folders
    name: str = ""  # the run's folder; default: data and network
    save_minutes: float = 2.0  # a checkpoint at least this often, and at every epoch's end

    def __post_init__(self) -> None:
        if min(self.steps, self.bin_us, self.height, self.width, self.epochs, self.batch_size) < 1:
            raise ValueError("steps, bin_us, height, width, epochs and batch_size must be positive")
        if not 0 < self.val_fraction < 1 or not 0 < self.test_fraction < 1:
            raise ValueError("val_fraction and test_fraction must lie between 0 and 1")
        if self.lr <= 0 or not 0 <= self.ema < 1 or not 0 <= self.drop < 1 or not 0 <= self.carry <= 1:
            raise ValueError("lr must be positive, ema and drop in [0, 1), carry in [0, 1]")


def _plain_type(hint: Any) -> type:
    arguments = typing.get_args(hint)
    return type(arguments[0]) if typing.get_origin(hint) is Literal else hint


def add_fields(parser: argparse.ArgumentParser, kind: type, comments: Mapping[str, str]) -> None:
    """One flag for each field of the dataclass `kind`, without defaults, so that only given flags override."""
    hints = typing.get_type_hints(kind)
    for f in fields(kind):
        flag, help_text = "--" + f.name.replace("_", "-"), f"{comments.get(f.name, '')} (default {f.default!r})"
        choices = typing.get_args(hints[f.name]) if typing.get_origin(hints[f.name]) is Literal else None
        if hints[f.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help_text)
        else:
            wanted = _plain_type(hints[f.name])
            parser.add_argument(
                flag, type=wanted, choices=choices, default=None, metavar=f.name.upper(), help=help_text
            )


def field_comments(kind: type) -> dict[str, str]:
    """The comment behind each field in the source: the help of its flag."""
    import inspect

    comments = {}
    for line in inspect.getsource(kind).splitlines():
        name, colon, rest = line.strip().partition(":")
        if colon and name.isidentifier() and "#" in rest:
            comments[name] = rest.partition("#")[2].strip().replace("%", "%%")
    return comments


def from_mapping(config: TrainConfig, values: Mapping[str, Any], where: str) -> TrainConfig:
    """`config` with values replaced; an unknown name is refused with the nearest known one."""
    hints = typing.get_type_hints(TrainConfig)
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, 1)
            raise ValueError(f"{where}: unknown setting {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        wanted = _plain_type(hints[name])
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or isinstance(wanted, types.UnionType):
            raise ValueError(f"{where}: {name} must be of type {wanted.__name__}, not {value!r}")
        clean[name] = value
    return replace(config, **clean)


def read_yaml(path: Path) -> dict[str, Any]:
    """A settings file as a dictionary."""
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        raise ValueError(f"{path.name} is not YAML") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} must hold 'name: value' lines")
    return values


def resolve(args: argparse.Namespace, names: Sequence[str]) -> TrainConfig:
    """Defaults, then the YAML file, then the flags that were given."""
    config = TrainConfig()
    if args.config:
        config = from_mapping(config, read_yaml(Path(args.config)), Path(args.config).name)
    return from_mapping(config, {n: getattr(args, n) for n in names if getattr(args, n) is not None}, "flags")


def to_yaml(config: TrainConfig) -> str:
    """The settings as YAML, in the order of the fields."""
    return yaml.safe_dump(asdict(config), sort_keys=False)
