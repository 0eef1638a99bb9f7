"""All measurements that need a GPU, in one command of under eight minutes.

    python -m benchmarks.gpu [--root FOLDER] [--parts neurons training inference epoch resume] [--minutes 8]

neurons     a LIF layer over 16 steps, forward and backward: our Triton kernels against SpikingJelly's own kernels and
            its step loop in PyTorch; spikes and gradients are compared first
training    a step of SEW ResNet-18 (CIFAR shape), T = 4, batch 128: float32, bfloat16, compiled; peak memory
inference   SEW ResNet-18 at 224x224, T = 4, batch 32: float32, bfloat16, SpikingJelly; peak memory
epoch       one epoch of the recipe cifar_direct, from random weights and without a teacher (CIFAR-10 below --root)
resume      a run that was stopped in mid-epoch and resumed, against one that never stopped: bit-identical weights

A part that fails prints the reason in its table, and the next part begins. Without a GPU, one sentence says so.
"""

import gc
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks import neurons, training
from benchmarks.common import report
from benchmarks.common.networks import folded, spikingjelly_resnet
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.sets import MissingDataError
from spikesight.training.flags import from_mapping, read_yaml, recipe_path
from spikesight.training.run.loop import Run

Step = Callable[[], object]
PARTS = ("neurons", "training", "inference", "epoch", "resume")
MIB = 2**20


def seconds_of(run: Step, device: torch.device) -> float:
    """Return the seconds that a call takes, including its work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak_mib(run: Step, device: torch.device) -> float:
    """Return the peak memory of all tensors on the GPU during a call, in MiB; 0 without a GPU."""
    if device.type != "cuda":
        run()
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / MIB


def print_timings(
    title: str, variants: dict[str, Callable[[], Step]], base: str, device: torch.device, rounds: int
) -> None:
    """Make, warm up, time and free each variant in turn, so that none uses another's memory; print medians.

    Variants are not interleaved, since nobody else uses the GPU. The row of a variant that fails holds the error.
    """
    report.table(title, "variant", "ms", f"times {base}", "peak MiB", "remark")
    print(f"\n{title}", flush=True)
    first = 0.0
    for name, make in variants.items():
        try:
            run = make()
            for _ in range(3):
                run()
            seconds, peak = statistics.median(seconds_of(run, device) for _ in range(rounds)), peak_mib(run, device)
        except Exception as error:  # another library's kernel or the compiler failed: measure the other rows
            report.row(name, "", "", "", sentence(error))
            print(f"  {name}: {sentence(error)}", flush=True)
            continue
        first = seconds if name == base else first
        report.row(name, seconds * 1e3, first / seconds or "", peak, "")  # no ratio where the base failed
        ratio = f", {first / seconds:.2f} times {base}" if first else ""
        print(f"  {name}: {seconds * 1e3:.3f} ms{ratio}, {peak:.0f} MiB", flush=True)
        del run
        gc.collect()


def sentence(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


# --- neurons ---


def compare_neurons(device: torch.device, shape: tuple[int, ...], rounds: int) -> None:
    """Compare LIF layers: ours, SpikingJelly's multi-step layer (own GPU kernels) and its step loop (PyTorch)."""
    layers = {"Triton kernels (ours)": neurons.fused, "plain loop (ours)": neurons.plain_loop}
    if find_spec("spikingjelly"):
        layers |= neurons.spikingjelly(compiled=False)
    small = (shape[0], 2, *shape[2:])
    report.table("neurons on the GPU: the same as ours", "layer", "what differs")
    for name, layer in list(layers.items())[1:]:
        found = neurons.check_same(layer, small, device)
        report.row(name, found)
        print(f"{name}: {found}", flush=True)
    x_seq = (torch.randn(shape, device=device) * 1.5).requires_grad_()
    gradient = torch.randn(shape, device=device)

    def train(layer: neurons.Layer) -> Step:
        def run() -> None:
            x_seq.grad = None
            layer(x_seq).backward(gradient)

        return run

    def infer(layer: neurons.Layer) -> Step:
        return torch.no_grad()(lambda: layer(x_seq))

    for words, mode in (("forward", infer), ("forward and backward", train)):
        variants = {name: lambda layer=layer, mode=mode: mode(layer) for name, layer in reversed(layers.items())}
        base = next(iter(variants))
        print_timings(f"{list(shape)} float32 on the GPU, {words}", variants, base, device, rounds)


# --- a training step, and inference ---

STEPS: dict[str, dict[str, object]] = {"ours, float32": {}, "ours, bfloat16": {"precision": "bf16"}}


def compare_training(device: torch.device, batch: int, steps: int, rounds: int) -> None:
    """Time an optimiser step; the ANN has the same convolutions and T x batch images."""
    x_seq = torch.rand(1, batch, 3, 32, 32, device=device).expand(steps, -1, -1, -1, -1).contiguous()
    labels = torch.arange(batch, device=device) % 10
    variants: dict[str, Callable[[], Step]] = {
        "ANN on the same images": lambda: training.our_step(training.network(ann=True).to(device), x_seq, labels)
    }
    for name, options in STEPS.items():
        variants[name] = lambda options=options: training.our_step(
            training.network().to(device), x_seq, labels, **options
        )
    if find_spec("spikingjelly"):
        variants["SpikingJelly multi-step"] = lambda: training.spikingjelly_step(x_seq, labels)
    title = f"training step on the GPU, SEW ResNet-18, T = {steps}, {batch} x 3 x 32 x 32"
    print_timings(title, variants, "ANN on the same images", device, rounds)


def compare_inference(device: torch.device, size: int, batch: int, steps: int, rounds: int) -> None:
    """Time inference on still images with direct encoding and folded batch norms."""
    torch.manual_seed(0)
    network = SpikingResNet(replace(NETWORKS["sew-resnet18"], neuron=training.LIF)).eval().to(device)
    x_seq = torch.randn(1, batch, 3, size, size, device=device).expand(steps, -1, -1, -1, -1)
    best = folded(network)

    def half() -> object:
        with torch.autocast(device.type, torch.bfloat16):
            return best(x_seq)

    runs: dict[str, Step] = {"ours, float32": lambda: best(x_seq), "ours, bfloat16": half}
    if find_spec("spikingjelly"):
        theirs = spikingjelly_resnet(network)
        runs = {"SpikingJelly multi-step": lambda: theirs(x_seq), **runs}
    variants = {name: lambda run=run: torch.inference_mode()(run) for name, run in runs.items()}
    title = f"inference on the GPU, SEW ResNet-18, T = {steps}, {batch} x 3 x {size} x {size}"
    print_timings(title, variants, next(iter(variants)), device, rounds)


# --- runs ---


def time_epoch(root: Path, device: torch.device, **changes: object) -> None:
    """Time one epoch of the recipe cifar_direct, including validation."""
    report.table("one epoch of cifar_direct on the GPU", "what", "value")
    recipe = from_mapping(TrainConfig(), read_yaml(recipe_path("cifar_direct")), "cifar_direct")
    wishes = {"epochs": 1, "teacher_weight": 0.0, "root": str(root), "device": device.type, **changes}
    try:
        data = load_data(replace(recipe, **wishes))
    except MissingDataError as error:
        print(f"no epoch of cifar_direct: {error}")
        report.row("not run", sentence(error))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = Run(data, Path(folder))
        run.train()
    (row,) = run.progress.rows
    for what in ("seconds", "train_accuracy", "val_accuracy"):
        report.row(what, row[what])


def noise_config(device: torch.device) -> TrainConfig:
    """Return the settings of a tiny run on noise: two epochs of four steps each."""
    short = {"steps": 2, "epochs": 2, "batch_size": 8, "lr": 2e-3, "warmup_epochs": 0.0, "ema": 0.9}
    return replace(TrainConfig(network="image-small"), device=device.type, **short)  # type: ignore[arg-type]


class Stopped(Run):
    """A run that stops before its sixth step, as after Ctrl-C."""

    def train_batch(self, rows: np.ndarray, later: np.ndarray | None = None) -> tuple[float, int]:
        self.stop_asked = self.progress.step == 5
        return super().train_batch(rows, later)


def check_resume(device: torch.device, pictures: Path) -> bool:
    """Return whether a run that was stopped and resumed ends with the same weights as one that was not stopped."""
    data = load_data(replace(noise_config(device), data=str(pictures)))
    whole = Run(data, pictures.with_name("whole"))
    whole.train()
    with suppress(KeyboardInterrupt):
        Stopped(data, pictures.with_name("stopped")).train()
    rest = Run(data, pictures.with_name("stopped"))
    rest.resume()
    assert rest.progress.step == 6
    rest.train()
    theirs = rest.network.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in whole.network.state_dict().items())


def write_pictures(folder: Path, count: int = 28) -> Path:
    """Write a folder of two classes of noise pictures, one brighter than the other."""
    import cv2

    random = np.random.default_rng(0)
    for name, mean in (("dark", 60), ("bright", 190)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / name / f"{number}.png"), random.normal(mean, 40, (28, 28)).clip(0, 255))
    return folder


def resume_part(device: torch.device) -> None:
    """Check resuming with deterministic kernels, which a bit-identical repetition needs."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with tempfile.TemporaryDirectory() as folder:
        equal = check_resume(device, write_pictures(Path(folder) / "pictures"))
    torch.use_deterministic_algorithms(False)
    report.table("a run on the GPU stopped and resumed", "what", "value")
    report.row("weights equal to the bit", str(equal).lower())
    print(f"\nresumed run equal to the bit: {equal}", flush=True)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where CIFAR-10 lies (default data)")
    parser.add_argument("--minutes", type=float, default=8.0, help="no part begins later than this")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA GPU is available to this PyTorch, so there is nothing to measure here.")
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    device, begin = torch.device("cuda"), time.monotonic()
    parts: dict[str, Step] = {
        "neurons": lambda: compare_neurons(device, (16, 32, 64, 32, 32), 20),
        "training": lambda: compare_training(device, 128, 4, 20),
        "inference": lambda: compare_inference(device, 224, 32, 4, 20),
        "resume": lambda: resume_part(device),
        "epoch": lambda: time_epoch(args.root, device),
    }
    for name in sorted(args.parts, key=list(parts).index):
        if time.monotonic() - begin > args.minutes * 60:
            print(f"no time is left for {name}")
            continue
        try:
            parts[name]()
        except Exception as error:
            print(f"{name} failed: {sentence(error)}", flush=True)
    report.write("gpu", args.json, processor=torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
