"""The settings of a training run, each with the help of its flag."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal


class Section(str):
    """Title of a group of settings; it annotates the first setting of the group."""


RANGES: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("emulated_count repeat step_epochs", "be positive", lambda value: value >= 1),
    (
        "paper_clips printed outliers noise_hz window_ms hop_ms steps bin_us shortest_bin_us height width channels "
        "filter_us resize lr batch_size epoch_steps random_steps truncate slope clip_norm spike_penalty "
        "teacher_weight shift checkpoint_steps threads epochs",
        "not be negative",
        lambda value: value >= 0,
    ),
    ("val_fraction", "lie between 0 and 1", lambda value: 0 < value < 1),
    ("hot zoom plain", "lie in [0, 1]", lambda value: 0 <= value <= 1),
    ("speed", "be 1 or more", lambda value: value >= 1),
    ("ema label_smoothing drop noise scale", "lie in [0, 1)", lambda value: 0 <= value < 1),
    ("carry", "lie in [0, 1] or be -1", lambda value: value == -1 or 0 <= value <= 1),
    ("channels", "be 1 or 3", lambda value: value in (0, 1, 3)),
)
"""Range checks: (names of settings, the rule that completes "NAME must ...", a test of one value)."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run. Flags override --config FILE.yaml, which overrides these defaults."""

    data: Annotated[str, Section("data"), "a data set by name, or a folder of recordings or pictures"] = "nmnist"
    root: Annotated[str, "where named data sets lie"] = "data"
    val_fraction: Annotated[float, "share of the training samples that choose the model"] = 0.15
    cache: Annotated[str, "folder of binned frames"] = ".cache"
    layout: Annotated[
        Literal["auto", "classes", "sessions", "flat"],
        Section("a folder of your own recordings"),
        "what names of files and folders tell",
    ] = "auto"
    window_ms: Annotated[int, "length of a window; 0 takes what suits the rate of events"] = 0
    hop_ms: Annotated[int, "from one training window's begin to the next; 0 is half a window"] = 0
    emulated: Annotated[
        Literal["", "mnist"],
        Section("what joins a data set of digits"),
        "images that join the training set as emulated events",
    ] = ""
    emulated_count: Annotated[int, "how many images are emulated"] = 10_000
    repeat: Annotated[int, "copies of each recording and each clip in the training set, beside emulated ones"] = 1
    paper_clips: Annotated[
        int, "clips that join, of digits on paper before a webcam or an event camera; of images stills before a webcam"
    ] = 0
    printed: Annotated[int, "digits of fonts that join written ones"] = 0
    outliers: Annotated[int, "drawings near digits that are none (letters, two digits, ...): to be no class"] = 0
    noise_hz: Annotated[float, "added sensor noise: at most, events a pixel a second"] = 0.0
    hot: Annotated[float, "added hot pixels: at most, their share"] = 0.0
    steps: Annotated[
        int, Section("input; 0 or empty: what suits the data set"), "T: bins of a window, or steps of an image"
    ] = 0
    bin_us: Annotated[int, "length of a bin, microseconds"] = 0
    shortest_bin_us: Annotated[int, "recordings: the shortest bin of the same weights, microseconds"] = 0
    height: Annotated[int, "height of the network's input, pixels"] = 0
    width: Annotated[int, "width of the network's input, pixels"] = 0
    channels: Annotated[int, "channels of a folder of pictures: 3, or 1 for grey"] = 0
    encoding: Annotated[str, "recordings: binary or count; images: direct, rate or latency"] = ""
    filter_us: Annotated[int, "recordings: correlation time of the filter against background activity; 0 is off"] = 0
    crop: Annotated[
        Literal["", "none", "object"], "recordings: object centres and scales what moves, as in your own unless none"
    ] = ""
    pooled: Annotated[bool, "recordings: sum a finer sensor's events to the input's pixels, for other cameras"] = False
    window: Annotated[Literal["", "drawing"], "live: drawing tracks a window around what is drawn"] = ""
    resize: Annotated[int, "pictures on disk: short side, pixels, from which the input is cropped; 0: its size"] = 0
    network: Annotated[
        str, Section("network"), "a name from `spikesight models`; empty: that of --init-from, else event-medium"
    ] = ""
    neuron: Annotated[str, "neuron: lif, if, plif, clif or psn; relu: an ANN"] = "lif"
    beta: Annotated[float, "share of the membrane that is left after a step"] = 0.5
    theta: Annotated[float, "firing threshold"] = 1.0
    surrogate: Annotated[str, "surrogate gradient: arctan, fast_sigmoid, sigmoid, triangular or rectangular"] = "arctan"
    slope: Annotated[float, "the surrogate's parameter; 0 takes its default"] = 0.0
    learn_beta: Annotated[bool, "PLIF: the leak is learnt, one a layer"] = False
    init_from: Annotated[str, "start from a model (folder or shipped name), or an ANN's weights file"] = ""
    from_scratch: Annotated[bool, "own recordings: start from random weights, not from the shipped nmnist"] = False
    freeze: Annotated[bool, "learn the last layer alone, on top of --init-from"] = False
    epochs: Annotated[
        int,
        Section("batches"),
        "passes over the training samples, or --epoch-steps each; 0: 30, or 1 where no more could be told better",
    ] = 0
    epoch_steps: Annotated[int, "optimiser steps an epoch; 0: one pass, in a small folder of your own several"] = 0
    batch_size: Annotated[int, "samples a step, of all processes together; 0: 64, fewer in a small folder"] = 0
    carry: Annotated[float, "chance to start with another sample's state; -1: 0.3 for recordings"] = -1.0
    random_steps: Annotated[int, "each batch runs a random number of steps, this or more; 0 is off"] = 0
    truncate: Annotated[int, "truncated back-propagation through time: steps a piece; 0 is off"] = 0
    optimiser: Annotated[Literal["adamw", "sgd"], Section("optimisation"), "optimiser; sgd has momentum 0.9"] = "adamw"
    lr: Annotated[float, "peak learning rate, after the warm-up; 0: 0.02; from a model, or images by name, 0.002"] = 0.0
    schedule: Annotated[Literal["cosine", "step", "constant"], "cosine to 0; step: times 0.1"] = "cosine"
    step_epochs: Annotated[int, "epochs from one step of the step schedule to the next"] = 30
    warmup_epochs: Annotated[float, "epochs of linear warm-up"] = 1.0
    weight_decay: Annotated[float, "weight decay, of weights with more than one axis"] = 0.01
    clip_norm: Annotated[float, "largest gradient norm; 0 is off"] = 1.0
    ema: Annotated[float, "decay of the moving average of weights that the model gets; 0 is off"] = 0.0
    loss: Annotated[
        Literal["mean", "tet", "mse_rate", "ce_count", "mse_count"],
        Section("what is minimised"),
        "loss; see training/step/losses.py",
    ] = "tet"
    tet_weight: Annotated[float, "weight of TET's pull of all logits towards 1"] = 1e-3
    label_smoothing: Annotated[float, "label smoothing of cross-entropies"] = 0.0
    teacher: Annotated[str, "distil from this model (folder or shipped name) or ANN weights file"] = ""
    teacher_weight: Annotated[float, "weight of the distillation in the loss"] = 0.5
    spike_penalty: Annotated[float, "weight of the mean firing rate in the loss"] = 0.0
    class_weights: Annotated[Literal["auto", "on", "off"], "rare classes count more; auto: in own folders"] = "auto"
    shift: Annotated[int, Section("augmentation of the training samples"), "random shifts, pixels each way"] = 2
    rotate: Annotated[float, "random turns, degrees each way"] = 10.0
    shear: Annotated[float, "random shear, degrees each way"] = 0.0
    zoom: Annotated[float, "images: least share of the area that a random crop takes; 0 is off"] = 0.0
    widen: Annotated[bool, "own recordings, pictures: more of what stands at its default here, to suit few"] = True
    scale: Annotated[float, "recordings: random sizes, share each way"] = 0.0
    speed: Annotated[float, "recordings: random speeds, up to so many times as fast or as slow"] = 1.0
    flip: Annotated[bool, "mirror left and right (not for digits or gestures with a direction)"] = False
    swap: Annotated[bool, "exchange ON and OFF events in half of the windows"] = False
    turn: Annotated[bool, "recordings of directions: quarter turns and mirror images, labels with them"] = False
    drop: Annotated[float, "recordings: highest share of events dropped from a window"] = 0.2
    noise: Annotated[float, "recordings: highest share of a window's cells that get a stray event"] = 0.0
    plain: Annotated[float, "recordings: share of the samples that are only shifted, mirrored and swapped"] = 0.0
    baselines: Annotated[bool, Section("the run"), "recordings: train ANNs of the same shape beside it, too"] = False
    seed: Annotated[int, "seed of splits, weights and batches"] = 0
    output: Annotated[str, "folder of run folders"] = "runs"
    name: Annotated[str, "the run's folder; default: data and network"] = ""
    save_minutes: Annotated[float, "a checkpoint at least this often, and at every epoch's end"] = 2.0
    log_to: Annotated[Literal["", "tensorboard"], "a further log beside metrics.csv; needs the extra"] = ""
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Section("where and how it runs"),
        "where it trains; auto: the GPU when there is one",
    ] = "auto"
    precision: Annotated[Literal["fp32", "bf16"], "bf16: autocast, membranes stay float32"] = "fp32"
    channels_last: Annotated[bool, "NHWC memory layout of the convolutions"] = False
    compile: Annotated[bool, "torch.compile"] = False
    checkpoint_steps: Annotated[int, "gradient checkpointing: steps a piece; 0 is off"] = 0
    threads: Annotated[int, "torch threads; 0 leaves torch's choice"] = 0

    def __post_init__(self) -> None:
        for names, rule, holds in RANGES:
            if wrong := [name for name in names.split() if not holds(getattr(self, name))]:
                raise ValueError(f"{wrong[0]} must {rule}")
        if self.truncate and (self.teacher or self.loss != "tet"):
            raise ValueError("--truncate needs a loss that every step has for itself: --loss tet, with no --teacher")
        if self.truncate and self.checkpoint_steps:
            raise ValueError("--truncate already bounds memory: use it or --checkpoint-steps, not both")
        if self.freeze and not self.init_from:
            raise ValueError("--freeze keeps the layers of a trained model: name it with --init-from")
        if self.crop == "object" and (self.window or self.encoding not in ("", "binary") or self.emulated):
            raise ValueError("--crop object is for binary recordings, with neither --window nor --emulated")
        if self.pooled and (self.window or self.crop == "object"):
            raise ValueError("--pooled is for all of a sensor: it goes with neither --window nor --crop object")

    @property
    def spiking_readout(self) -> bool:
        """Whether the loss reads the spikes of an output neuron layer instead of logits."""
        return self.loss in ("mse_rate", "ce_count", "mse_count")
