"""The event-driven engine against the PyTorch network, the best dense forms and other libraries.

    python -m benchmarks.engine [--tables streams converted sweep] [--rounds 5] [--networks sew-resnet18 resnet18]
        [--rates 1 2 5 7 10 15 20 30 50] [--sizes 224 128]

streams     one step of each shipped event model on its sample recordings, for 1, 8 and 32 streams together
converted   a converted CIFAR ResNet-18 with random weights
sweep       ResNet-18 at T = 4, 3x224x224 images and T = 10, 2x128x128 events; the weights are random, and batch norms
            are shifted until each neuron layer fires at the stated rate, per cent

Libraries that are not installed (SpikingJelly: the extra `dev`; OpenVINO: pip install openvino; int8: onnxruntime and
onnxscript) are left out, and a line says so.
"""

import itertools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import report
from benchmarks.common.networks import (
    Variants,
    exported,
    folded,
    inference,
    installed,
    onnx_runtime,
    openvino,
    quantised,
    spikingjelly_converted,
)
from benchmarks.common.networks import spikingjelly_resnet as spikingjelly
from benchmarks.common.rates import at_rate
from benchmarks.common.timing import Timing, begin, paired, print_table
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import Recording
from spikesight.encoders.sources.samples import events_of, listing
from spikesight.models.checkpoint import load
from spikesight.models.classifier import encoder_for
from spikesight.models.contract import Card
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import IF_NEAREST, METHODS
from spikesight.models.engine.engine import Engine, engine_status, rounds_weights
from spikesight.models.networks.ann import stage
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.shipped import shipped

ZERO_RESET = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True)
NEAREST = "rueckauer, v(0) = theta/2"
TABLES = ("streams", "converted", "sweep")
SIZES = {224: (4, 3), 128: (10, 2)}  # image size: steps, channels
EXACT = (
    "PyTorch, folded, channels last",
    "PyTorch compiled",
    "ONNX Runtime f32",
    "OpenVINO f32",
    "engine, dense alone",
)
"""Names of the dense variants in float32."""
HALF = ("the same, bfloat16", "OpenVINO bf16", "engine bf16, dense alone")  # int8 rounds currents: not the same network


def print_parity(network: nn.Module, engine: Engine, x_seq: Tensor) -> None:
    """Print how far the engine deviates from the network: logits, and spikes that only one of them has (ties)."""
    meter = Meter(network)
    with torch.inference_mode():
        logits = network(x_seq)[0]
    spikes = meter.read().layer_spikes
    meter.close()
    result = engine.run(x_seq)
    moved = int((result.layer_spikes.sum(0) - spikes).abs().sum())
    step = float((result.logits - logits).abs().max())
    mean = float((result.logits.mean(0) - logits.mean(0)).abs().max())
    print(
        f"logits of {logits.abs().max():.2f} differ by {step:.1e} in a step, {mean:.1e} in their mean over time; "
        f"{moved} of {int(spikes.sum())} spikes by layer"
    )


# --- streams ---


def read_samples(card: Card) -> list[Recording]:
    """Read the shipped sample recordings of the model's sensor size."""
    size = (card.contract.sensor_width, card.contract.sensor_height)
    found = [sample for sample in listing() if (sample.width, sample.height) == size]
    return [Recording(events_of(sample.name), SensorSize(*size), "t64") for sample in found]


def read_windows(card: Card, recordings: list[Recording], count: int = 32) -> Tensor:
    """Bin the first window of each recording, uint8 [T, count, 2, H, W]; recordings repeat if there are fewer."""
    if not recordings:
        raise SystemExit("no recordings there")
    windows = [torch.from_numpy(encoder_for(card.contract, r.size)(r.events)) for r in recordings]
    return torch.cat([windows[n % len(windows)] for n in range(count)], 1)


def bench_streams(name: str, network: SpikingResNet, recorded: Tensor, rounds: int) -> None:
    """Time one step of 1, 8 and 32 streams together."""
    for streams in (1, 8, 32):
        inputs = recorded[:, :streams]
        engine = Engine(network, *inputs.shape[3:])
        state = engine.run(inputs).state  # the first step would be silent
        with torch.inference_mode():
            plain = network(inputs.float())[1]
        one, floats = inputs[-1:], inputs[-1:].float()

        def loop(engine: Engine = engine, one: Tensor = one, state: Any = state) -> None:
            for _ in range(20):
                engine.run(one, state)

        def torch_loop(one: Tensor = floats, plain: Any = plain) -> None:
            with torch.inference_mode():
                for _ in range(20):
                    network(one, plain)

        timings = paired({"network (torch)": torch_loop, "engine": loop}, "network (torch)", rounds)
        print_table(f"{name}: one step of {streams} stream(s)", timings, "network (torch)", per=20)
    print_parity(network, engine, inputs.float())


def bench_shipped(rounds: int) -> None:
    """Time every shipped event model on its sample recordings."""
    for name, folder in shipped().items():
        network, card = load(folder)
        if card.contract.kind == "events" and isinstance(network, SpikingResNet):
            bench_streams(name, network, read_windows(card, read_samples(card)), rounds)


# --- converted networks ---


def random_ann(images: Tensor) -> nn.Module:
    """Build a CIFAR ResNet-18 with random weights and batch norm statistics of the images."""
    torch.manual_seed(0)
    stages = [stage(64, 64, 2, 1, "conv"), stage(64, 128, 2, 2, "conv"), stage(128, 256, 2, 2, "conv")]
    ann = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(*stages, stage(256, 512, 2, 2, "conv")),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)),
    ).train()
    with torch.no_grad():
        for module in ann.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        ann(images)
    return ann.eval()


def bench_converted(title: str, ann: nn.Module, images: Tensor, method: str, rounds: int, steps: int = 32) -> None:
    """Time a converted network on one image, T steps."""
    chosen = replace(METHODS["rueckauer"], rule=IF_NEAREST) if method == NEAREST else method
    network = convert(ann, [images], chosen, steps=steps)
    x_seq = images[:1].expand(steps, -1, -1, -1, -1)
    engine = Engine(network, *images.shape[2:])
    state = engine.initial_state()

    def stepwise() -> None:
        carried = state
        for x in x_seq:
            carried = engine.run(x[None], carried).state

    batch = images[:1].expand(steps, -1, -1, -1).contiguous()
    base = "ANN, one batch of T images"
    variants: Variants = {
        base: inference(ann, batch),
        "converted network, T at once": lambda: network(x_seq[:1], None, steps),
        "engine, step by step": stepwise,
        "engine, T at once": lambda: engine.run(x_seq),
    }
    if method == NEAREST and installed("spikingjelly"):  # the only method of its converter
        try:
            variants = {**spikingjelly_converted(ann, images, x_seq), **variants}
            base = "SpikingJelly step loop"
        except ValueError as error:
            print(f"(no rows of SpikingJelly: {error})")
    timings = paired(variants, base, rounds)
    print_table(f"{title} ({method}), T = {steps}, a step of one image", timings, base, per=steps)
    print_parity(network, engine, x_seq)


# --- firing rates ---


def peers(network: SpikingResNet, x_seq: Tensor, threads: int = 1) -> Variants:
    """Return the network as run by ONNX Runtime and OpenVINO, as far as they are installed."""
    found: Variants = {}
    with TemporaryDirectory() as folder:
        file = int8 = None
        if installed("onnxruntime") and installed("onnxscript"):
            file = exported(network, x_seq, Path(folder) / "network.onnx")
            int8 = quantised(file, x_seq)
            files = {"ONNX Runtime f32": file, "ONNX Runtime int8": int8}
            found |= {label: onnx_runtime(path, x_seq, threads) for label, path in files.items()}
        if installed("openvino"):
            for precision in ("f32", "bf16"):
                found[f"OpenVINO {precision}"] = openvino(network, x_seq, precision, threads)
            if int8 is not None:
                found["OpenVINO int8"] = openvino(int8, x_seq, "bf16", threads)
    return found


def at_firing_rate(name: str, size: int, rate: float) -> tuple[SpikingResNet, Tensor, list[float]]:
    """Return a random network that fires at `rate`, one sample of T steps, and the firing rate of each neuron layer."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    steps, channels = SIZES[size]
    network = SpikingResNet(replace(NETWORKS[name], in_channels=channels, neuron=ZERO_RESET))
    if channels == 2:
        x_seq = (torch.rand(steps, 1, 2, size, size, generator=generator) < 0.05).float()
    else:
        x_seq = torch.randn(1, 1, channels, size, size, generator=generator).expand(steps, -1, -1, -1, -1)
    return network, x_seq, at_rate(network, x_seq, rate)


def bench_sweep(name: str, size: int, rate: float, rounds: int, compiled: bool) -> None:
    """Time one sample of T steps at once, with every neuron layer firing at `rate`."""
    steps, channels = SIZES[size]
    network, x_seq, reached = at_firing_rate(name, size, rate)
    best = folded(network)
    engine = Engine(network, size, size)
    engines = {"engine": engine, "engine, dense alone": Engine(network, size, size, choice="dense")}
    if rounds_weights("bf16"):
        engines["engine bf16"] = Engine(network, size, size, precision="bf16")
        engines["engine bf16, dense alone"] = Engine(network, size, size, precision="bf16", choice="dense")
    base = EXACT[0]
    variants: Variants = {base: inference(best, x_seq), HALF[0]: inference(best, x_seq, torch.bfloat16)}
    variants |= {label: lambda engine=engine: engine.run(x_seq) for label, engine in engines.items()}
    if installed("spikingjelly"):
        base = "SpikingJelly multi-step"
        variants = {base: inference(spikingjelly(network), x_seq), **variants}
    if compiled:
        variants["PyTorch compiled"] = inference(torch.compile(best, dynamic=False), x_seq.contiguous())
    variants |= peers(network, x_seq.contiguous())
    timings = paired(variants, base, rounds)
    print(f"\nneurons fire at {min(reached):.1%} to {max(reached):.1%}")
    title = f"{name}, T = {steps}, {channels}x{size}x{size}, neurons fire at {rate:.0%}"
    print_table(title, timings, base)
    print_against_dense(timings, "engine", EXACT)
    print_against_dense(timings, "engine bf16", HALF)
    print_parity(network, engine, x_seq)


def print_against_dense(timings: dict[str, Timing], name: str, dense: tuple[str, ...]) -> None:
    """Print the engine's time as a share of the fastest dense variant's of the same precision."""
    if name not in timings:
        return
    best = min((label for label in dense if label in timings), key=lambda label: timings[label].milliseconds)
    share = timings[best].ratio / timings[name].ratio
    print(f"{name}: {share:.2f} of the time of the best dense form ({best})")


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=["sew-resnet18", "resnet18"], help="of the sweep")
    parser.add_argument("--rates", nargs="+", type=float, default=[2, 7, 15, 30, 50], help="of the sweep, per cent")
    parser.add_argument("--sizes", nargs="+", type=int, choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--compile", action="store_true", help="PyTorch under torch.compile in the sweep as well")
    args = parser.parse_args()
    begin(engine_status())
    if "streams" in args.tables:
        bench_shipped(args.rounds)
    if "converted" in args.tables:
        images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        bench_converted("CIFAR ResNet-18, random weights", random_ann(images), images, NEAREST, args.rounds)
    for name, size, rate in itertools.product(args.networks, args.sizes, args.rates) if "sweep" in args.tables else ():
        bench_sweep(name, size, rate / 100, args.rounds, args.compile)
    report.write("engine", args.json)


if __name__ == "__main__":
    main()
