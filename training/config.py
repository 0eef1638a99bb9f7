"""The settings of a training run, each with the help of its flag."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal


class Section(str):
    """Title of a group of settings; it annotates the first setting of the group."""


UNSET: Any = None
"""Default of what a run chooses by itself: None until `resolve` has filled it in; or for good, if it is optional."""

RANGES: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    (
        "window_ms steps bin_us height width minutes lr batch_size epoch_steps clip_norm",
        "be positive",
        lambda value: value > 0,
    ),
    ("filter_us spike_penalty shift epochs", "not be negative", lambda value: value >= 0),
    ("val_fraction", "lie between 0 and 1", lambda value: 0 < value < 1),
    ("carry", "lie in [0, 1]", lambda value: 0 <= value <= 1),
    ("ema label_smoothing drop scale", "lie in [0, 1)", lambda value: 0 <= value < 1),
)
"""Range checks: (names of settings, the rule that completes "NAME must ...", a test of one value)."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run. Flags override --config FILE.yaml, which overrides these defaults."""

    data: Annotated[str, Section("data"), "a data set by name, or a folder of recordings or pictures"] = "nmnist"
    root: Annotated[str, "where named data sets lie"] = "data"
    val_fraction: Annotated[float, "share of the training samples that choose the model"] = 0.15
    cache: Annotated[str, "folder of binned frames"] = ".cache"
    transform: Annotated[str, "Tonic's data sets: its transforms, as Denoise(filter_time=10000), DropEvent(p=0.1)"] = (
        UNSET
    )
    layout: Annotated[
        Literal["auto", "classes", "sessions", "flat"],
        Section("a folder of your own recordings"),
        "what names of files and folders tell",
    ] = "auto"
    window_ms: Annotated[int, "length of a window; unset: as suits the rate of events"] = UNSET
    skip_bad: Annotated[bool, "go on without files that cannot be read; the model's card names them"] = False
    steps: Annotated[
        int, Section("input; unset: as suits the data set"), "T: bins of a window, or steps of an image"
    ] = UNSET
    bin_us: Annotated[int, "length of a bin, microseconds"] = UNSET
    height: Annotated[int, "height of the network's input, pixels"] = UNSET
    width: Annotated[int, "width of the network's input, pixels"] = UNSET
    encoding: Annotated[str, "recordings: binary (unset) or count; images: direct (unset), rate or latency"] = UNSET
    filter_us: Annotated[int, "recordings: correlation time of the filter against background activity"] = 0
    crop: Annotated[
        Literal["none", "object"],
        "recordings: object centres and scales what moves; unset: so in long recordings of your own, else none",
    ] = UNSET
    network: Annotated[
        str, Section("network"), "a name from `spikesight models`; unset: that of --init-from, else event-medium"
    ] = UNSET
    neuron: Annotated[str, "neuron: lif, if, plif, clif or psn; relu: an ANN"] = "lif"
    beta: Annotated[float, "share of the membrane that is left after a step"] = 0.5
    theta: Annotated[float, "firing threshold"] = 1.0
    surrogate: Annotated[
        str, "surrogate gradient: arctan, fast_sigmoid, sigmoid, triangular or rectangular; arctan:4 sets its parameter"
    ] = "arctan"
    learn_beta: Annotated[bool, "PLIF: the leak is learnt, one a layer"] = False
    init_from: Annotated[
        str,
        "start from a model (folder or shipped name); unset: recordings of your own from the "
        "shipped things, unless --network, a neuron or a loss is named; all else from random weights",
    ] = UNSET
    epochs: Annotated[
        int,
        Section("batches"),
        "passes over the training samples, or --epoch-steps each; unset: 30, or what fits into --minutes, or none "
        "where a head on the first weights errs too rarely to tell that more is better",
    ] = UNSET
    minutes: Annotated[
        float,
        "no epoch begins later, and as many are planned as fit; unset: 10 on from a model on recordings of your own",
    ] = UNSET
    epoch_steps: Annotated[int, "optimiser steps an epoch; unset: one pass, in a small folder of your own several"] = (
        UNSET
    )
    batch_size: Annotated[int, "samples a step, of all processes together; unset: 64, fewer in a small folder"] = UNSET
    carry: Annotated[float, "chance to start with another sample's state; unset: 0.3 for recordings, else 0"] = UNSET
    optimiser: Annotated[Literal["adamw", "sgd"], Section("optimisation"), "optimiser; sgd has momentum 0.9"] = "adamw"
    lr: Annotated[
        float, "peak learning rate, after a warm-up; unset: 0.02; a model or images by name: 0.002; a head: 0.0002"
    ] = UNSET
    schedule: Annotated[Literal["cosine", "step", "constant"], "cosine to 0; step: times 0.1 each 30 epochs"] = "cosine"
    warmup_epochs: Annotated[float, "epochs of linear warm-up"] = 1.0
    weight_decay: Annotated[float, "weight decay, of weights with more than one axis"] = 0.01
    clip_norm: Annotated[float, "largest gradient norm"] = 1.0
    ema: Annotated[float, "decay of the moving average of weights that the model gets"] = 0.0
    loss: Annotated[Literal["mean", "tet"], Section("what is minimised"), "loss; see training/step/losses.py"] = "tet"
    label_smoothing: Annotated[float, "label smoothing of cross-entropies"] = 0.0
    teacher: Annotated[str, "distil from this model (folder or shipped name)"] = UNSET
    spike_penalty: Annotated[float, "weight of the mean firing rate in the loss"] = 0.0
    shift: Annotated[
        int,
        Section("augmentation of the training samples; unset: more in a folder of your own, which holds few"),
        "random shifts, pixels each way; unset: 2, or 8 % of the shorter side",
    ] = UNSET
    rotate: Annotated[float, "random turns, degrees each way; unset: 10, or 15"] = UNSET
    scale: Annotated[float, "random sizes, share each way; unset: none, or 0.15 of recordings"] = UNSET
    flip: Annotated[bool, "mirror left and right (not for digits or gestures with a direction)"] = False
    swap: Annotated[bool, "exchange ON and OFF events in half of the windows"] = False
    drop: Annotated[float, "recordings: highest share of events dropped from a window; unset: 0.2, or 0.3"] = UNSET
    seed: Annotated[int, Section("the run"), "seed of splits, weights and batches"] = 0
    output: Annotated[str, "folder of run folders"] = "runs"
    name: Annotated[str, "the run's folder; unset: data and network"] = UNSET
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Section("where and how it runs"),
        "where it trains; auto: the GPU when there is one",
    ] = "auto"
    precision: Annotated[Literal["fp32", "bf16"], "bf16: autocast, membranes stay float32"] = "fp32"

    def __post_init__(self) -> None:
        for names, rule, holds in RANGES:
            values = {name: getattr(self, name) for name in names.split()}
            if wrong := [name for name, value in values.items() if value is not None and not holds(value)]:
                raise ValueError(f"{wrong[0]} must {rule}")
        if self.crop == "object" and self.encoding not in (None, "binary"):
            raise ValueError("--crop object is for binary recordings")
