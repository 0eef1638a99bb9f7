"""Everything a training run can be told: a comment a field, records of what belongs together."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Emulation:
    """what is made to join the recordings, or the images, of a data set of digits"""

    emulated: Literal["", "mnist"] = ""  # images that join the training set as emulated events
    emulated_count: int = 10_000  # how many of them
    repeat: int = 1  # how often each recording, and each film, stands in the training set beside emulated ones
    sheets: int = 0  # digits on sheets of paper, held before a webcam or an event camera, that join: so many clips
    printed: int = 0  # digits of fonts that join images of written ones: so many
    noise_hz: float = 0.0  # sensor noise added to recordings and emulated ones: up to so many events a pixel a second
    hot: float = 0.0  # and up to this share of pixels that never rest

    def __post_init__(self) -> None:
        if min(self.emulated_count, self.repeat) < 1:
            raise ValueError("emulated_count and repeat must be positive")
        if min(self.sheets, self.printed, self.noise_hz) < 0 or not 0 <= self.hot <= 1:
            raise ValueError("sheets, printed and noise_hz must not be negative, hot must lie in [0, 1]")


@dataclass(frozen=True)
class Folder:
    """a folder of your own recordings"""

    layout: Literal["auto", "classes", "sessions", "flat"] = "auto"  # what names of files and folders tell
    window_ms: int = 0  # length of a window; 0 takes what suits the rate of events
    hop_ms: int = 0  # from one training window's begin to the next; 0 is half a window

    def __post_init__(self) -> None:
        if min(self.window_ms, self.hop_ms) < 0:
            raise ValueError("window_ms and hop_ms must not be negative")


@dataclass(frozen=True)
class Optimisation:
    """optimisation"""

    optimiser: Literal["adamw", "sgd"] = "adamw"  # sgd has momentum 0.9
    lr: float = 2e-3  # peak; warm-up, then the schedule
    schedule: Literal["cosine", "step", "constant"] = "cosine"  # cosine to 0, or times 0.1 each `step_epochs`
    step_epochs: int = 30  # of the step schedule
    warmup_epochs: float = 1.0  # of a linear warm-up
    weight_decay: float = 0.01  # of weights with more than one axis
    clip_norm: float = 1.0  # gradient norm; 0 is off
    ema: float = 0.0  # decay of the moving average of weights that is evaluated and shipped; 0 is off

    def __post_init__(self) -> None:
        if self.step_epochs < 1 or self.clip_norm < 0:
            raise ValueError("step_epochs must be positive, clip_norm not negative")
        if self.lr <= 0 or not 0 <= self.ema < 1:
            raise ValueError("lr must be positive, ema in [0, 1)")


@dataclass(frozen=True)
class Objective:
    """what is minimised"""

    loss: Literal["mean", "tet", "mse_rate", "ce_count", "mse_count"] = "tet"  # see training/step/losses.py
    tet_weight: float = 1e-3  # of TET's pull of all logits towards 1
    label_smoothing: float = 0.0  # of cross-entropies
    teacher: str = ""  # distil from this model (folder or shipped name) or ANN weights file
    teacher_weight: float = 0.5  # of the distillation in the loss
    spike_penalty: float = 0.0  # weight of the mean firing rate in the loss
    class_weights: Literal["auto", "on", "off"] = "auto"  # rare classes count more; auto: in a folder of your own

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1 or min(self.spike_penalty, self.teacher_weight) < 0:
            raise ValueError("label_smoothing must lie in [0, 1), spike_penalty and teacher_weight from 0")

    @property
    def spiking_readout(self) -> bool:
        """Whether the loss reads the spikes of a last neuron layer."""
        return self.loss in ("mse_rate", "ce_count", "mse_count")


@dataclass(frozen=True)
class Augmentation:
    """augmentation of the training samples"""

    shift: int = 2  # pixels, each way
    rotate: float = 10.0  # degrees, each way
    shear: float = 0.0  # degrees, each way
    zoom: float = 0.0  # images: random crops of at least this share of the area (0.08 is usual for ImageNet); 0 is off
    flip: bool = False  # mirror left and right (not for digits or gestures with a direction)
    swap: bool = False  # exchange ON and OFF in half of the windows: objects lighter and darker than what is behind
    turn: bool = False  # recordings of directions: quarter turns and mirror images, and their names with them
    drop: float = 0.2  # recordings: highest share of events dropped from a window
    noise: float = 0.0  # recordings: highest share of a window's cells that get a stray event

    def __post_init__(self) -> None:
        if self.shift < 0 or not 0 <= self.drop < 1 or not 0 <= self.zoom <= 1 or not 0 <= self.noise < 1:
            raise ValueError("shift must not be negative, drop and noise must lie in [0, 1), zoom in [0, 1]")


@dataclass(frozen=True)
class Execution:
    """where and how it runs"""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: the GPU when there is one
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, membranes stay float32
    channels_last: bool = False  # memory layout of the convolutions
    sparse_convs: bool = False  # CPU: 3x3 convolutions of spikes compute from the events where these are few; exact
    compile: bool = False  # torch.compile
    checkpoint_steps: int = 0  # recompute in the backward pass, this many steps a piece: less memory; 0 is off
    threads: int = 0  # torch threads; 0 leaves torch's choice

    def __post_init__(self) -> None:
        if min(self.checkpoint_steps, self.threads) < 0:
            raise ValueError("checkpoint_steps and threads must not be negative")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. Order of precedence: these defaults, then --config FILE.yaml, then flags.

    What belongs together lies in records; flags and YAML name every setting flat: `lr`, not `optimisation.lr`.
    """

    # data
    data: str = "nmnist"  # a data set's name, or a folder of recordings or pictures
    root: str = "data"  # where named data sets lie
    val_fraction: float = 0.15  # share of the training samples that choose the model
    cache: str = ".cache"  # folder of binned frames
    folder: Folder = field(default_factory=Folder)
    emulation: Emulation = field(default_factory=Emulation)
    # the contract of the input; 0 or empty takes what suits the data set
    steps: int = 0  # T: bins of a window, or times that an image is shown
    bin_us: int = 0  # one bin, microseconds
    shortest_bin_us: int = 0  # recordings: the shortest that the same weights run at, microseconds (docs/latency.md)
    height: int = 0  # of the network's input, pixels
    width: int = 0  # likewise
    channels: int = 0  # of a folder of pictures: 3, or 1 for grey
    encoding: str = ""  # recordings: binary or count; images: direct, rate or latency
    filter_us: int = 0  # recordings: correlation time of the filter against background activity; 0 is off
    crop: Literal["none", "object"] = "none"  # recordings: "object" centres and scales each window on what moves in it
    window: Literal["", "drawing"] = ""  # live: "drawing" looks through a window that follows what is drawn
    resize: int = 0  # pictures on disk: short side they are kept at; training crops at random, evaluation in the middle
    # network
    network: str = "event-medium"  # a name from `spikesight models`
    neuron: Literal["lif", "if", "plif", "clif", "psn", "relu"] = "lif"  # kind of neuron; relu makes the ANN twin
    beta: float = 0.5  # leak a step
    theta: float = 1.0  # firing threshold
    surrogate: str = "arctan"  # arctan, fast_sigmoid, sigmoid, triangular, rectangular
    slope: float = 0.0  # the surrogate's parameter; 0 takes its default
    learn_beta: bool = False  # PLIF: the leak is learnt, one a layer
    init_from: str = ""  # start from a model (folder or shipped name), or from the weights file of an ANN of its shape
    freeze: bool = False  # learn the last layer alone, on top of --init-from
    # batches
    epochs: int = 30  # times that the training samples are seen
    batch_size: int = 64  # of all processes together
    carry: float = -1.0  # chance of starting with another sample's membranes, as a stream; -1: 0.3 for recordings
    random_steps: int = 0  # each batch runs a random number of steps, this or more; 0 is off
    truncate: int = 0  # truncated back-propagation through time: steps a piece; 0 is off
    optimisation: Optimisation = field(default_factory=Optimisation)
    objective: Objective = field(default_factory=Objective)
    augmentation: Augmentation = field(default_factory=Augmentation)
    # the run
    seed: int = 0  # of everything drawn
    output: str = "runs"  # folder of run folders
    name: str = ""  # the run's folder; default: data and network
    save_minutes: float = 2.0  # a checkpoint at least this often, and at every epoch's end
    log_to: Literal["", "tensorboard"] = ""  # a further log beside metrics.csv; needs the extra
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        counts = (
            self.steps,
            self.bin_us,
            self.shortest_bin_us,
            self.height,
            self.width,
            self.channels,
            self.resize,
            self.random_steps,
            self.filter_us,
        )
        if min(*counts, self.truncate) < 0:
            raise ValueError("numbers of steps, pixels, channels and microseconds must not be negative")
        if min(self.epochs, self.batch_size) < 1:
            raise ValueError("epochs and batch_size must be positive")
        if not 0 < self.val_fraction < 1 or not (self.carry == -1 or 0 <= self.carry <= 1) or self.slope < 0:
            raise ValueError(
                "val_fraction must lie between 0 and 1, carry in [0, 1] or be -1, slope must not be negative"
            )
        if self.truncate and (self.objective.teacher or self.objective.loss != "tet"):
            raise ValueError("--truncate needs a loss that every step has for itself: --loss tet, with no --teacher")
        if self.truncate and self.execution.checkpoint_steps:
            raise ValueError("--truncate already bounds memory: use it or --checkpoint-steps, not both")
        if self.freeze and not self.init_from:
            raise ValueError("--freeze keeps the layers of a trained model: name it with --init-from")
        if self.crop == "object" and (self.window or self.encoding not in ("", "binary") or self.emulation.emulated):
            raise ValueError("--crop object is for binary recordings, with neither --window nor --emulated")
        if self.channels not in (0, 1, 3):
            raise ValueError("channels must be 1 or 3")

    @classmethod
    def of(cls, **values: Any) -> "TrainConfig":
        """From settings by their flat names."""
        return cls().replaced(**values)

    def replaced(self, **values: Any) -> "TrainConfig":
        """With other values of settings, by their flat names. Raises TypeError for a name that is none."""
        for f in fields(self):
            record = getattr(self, f.name)
            if is_dataclass(record) and not isinstance(record, type):
                own = {name: values.pop(name) for name in [g.name for g in fields(record)] if name in values}
                values[f.name] = replace(record, **own)
        return replace(self, **values)

    def flat(self) -> dict[str, Any]:
        """Every setting by its flat name, in the order of the fields."""
        found: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            found |= vars(value) if is_dataclass(value) else {f.name: value}
        return found
