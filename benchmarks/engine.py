"""The event-driven engine against the plain network, the best dense one and the peers that are installed.

    python -m benchmarks.engine [--rounds 5] [--checkpoint FOLDER --recordings FOLDER] [--quick]

Tables, each with the density of every layer: one step of the shipped shape (or of a checkpoint) for 1, 8 and 32
streams; a converted CIFAR ResNet-18; SEW ResNet-18 at T = 4, 224x224 images and T = 10, 128x128 events, at three firing
rates. Without `--checkpoint` the weights are random, with the batch norms set so that the neurons fire at the stated
rate: the rates of a trained network decide, so quote a checkpoint's table for any claim.
"""

import argparse
import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import paired, print_machine, print_table
from encoders.recordings import read_recording
from models.ann import stage
from models.checkpoint import Card, load
from models.classifier import encoder_for
from models.convert import convert
from models.engine import Engine, engine_status
from models.engine_library import keep_memory
from models.engine_plan import fold
from models.neurons import Neuron, NeuronConfig
from models.resnet import NETWORKS, SpikingResNet

ZERO_RESET = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True)


def at_rate(network: SpikingResNet, x_seq: Tensor, rate: float) -> float:
    """Shift the batch norms until the neurons fire at about `rate`; the rate reached."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    low, high, reached = -4.0, 2.0, 0.0
    for norm in norms:
        norm.momentum = 1.0
        nn.init.constant_(norm.weight, 2.0)
    for _ in range(7):
        middle = (low + high) / 2
        for norm in norms:
            nn.init.constant_(norm.bias, middle)
        reached = firing_rate(network, x_seq)
        low, high = (middle, high) if reached < rate else (low, middle)
    network.eval()
    return reached


def firing_rate(network: SpikingResNet, x_seq: Tensor) -> float:
    """Mean output of the neuron layers, with batch norms that see this input."""
    rates: list[float] = []
    handles = [
        m.register_forward_hook(lambda _, __, spikes: rates.append(float(spikes.mean())))
        for m in network.modules()
        if isinstance(m, Neuron)
    ]
    network.train()
    with torch.no_grad():
        network(x_seq)
    for handle in handles:
        handle.remove()
    return sum(rates) / len(rates)


def folded(network: SpikingResNet) -> SpikingResNet:
    """The best dense form: batch norms folded, channels last."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(conv := module[0], nn.Conv2d):
            weight, bias, _ = fold(module)
            conv.weight, conv.bias, module[1] = nn.Parameter(weight), nn.Parameter(bias), nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def inference(network: Callable[[Tensor], Any], x_seq: Tensor, dtype: torch.dtype | None = None) -> Callable[[], Any]:
    def run() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            return network(x_seq)

    return run


def spikingjelly_resnet(network: SpikingResNet) -> Callable[[Tensor], Tensor]:
    """SpikingJelly's multi-step LIF in place of our neurons, the same weights and topology."""
    from spikingjelly.activation_based import functional, neuron

    class Layer(nn.Module):
        def __init__(self, config: NeuronConfig) -> None:
            super().__init__()
            self.node = neuron.LIFNode(tau=1 / (1 - config.beta), detach_reset=True, step_mode="m")

        def forward(self, x_seq: Tensor, _: object) -> Tensor:
            return self.node(x_seq)

    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Neuron):
                setattr(module, name, Layer(child.config))

    def run(x_seq: Tensor) -> Tensor:
        functional.reset_net(network)
        return network(x_seq)[0]

    return run


def openvino(network: SpikingResNet, x_seq: Tensor, precision: str) -> Callable[[], Any]:
    """The traced network under OpenVINO, one thread."""
    import openvino as ov

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network(x)[0]

    with torch.no_grad():
        model = ov.convert_model(torch.export.export(Plain(), (x_seq,)))
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer([x_seq.numpy()])


def print_uses(engine: Engine) -> None:
    """Density of the multiply-adds, layer by layer; a star marks the dense kernel."""
    words = [f"{use.name} {use.density:.3f}{'' if use.event_driven else '*'}" for use in engine.uses()]
    print("density a layer (* dense kernel): " + ", ".join(words))


def bench_streams(network: SpikingResNet, x_of: Callable[[int], Tensor], size: tuple[int, int], rounds: int) -> None:
    """One step for N streams together."""
    for streams in (1, 8, 32):
        inputs = x_of(streams)
        engine = Engine(network, *size)
        state = engine.run(inputs).state  # not the silent first step
        plain = engine.to_network_state(state)
        one, floats = inputs[-1:], inputs[-1:].float()

        def loop(engine: Engine = engine, one: Tensor = one, state: Any = state) -> None:
            for _ in range(20):
                engine.run(one, state)

        def torch_loop(one: Tensor = floats, plain: Any = plain) -> None:
            with torch.inference_mode():
                for _ in range(20):
                    network(one, plain)

        timings = paired({"network (torch)": torch_loop, "engine": loop}, "network (torch)", rounds)
        print_table(f"One step of {streams} stream(s)", timings, "network (torch)", per=20)
        print_uses(engine)


def bench_resnet18(name: str, channels: int, steps: int, size: int, rate: float, rounds: int) -> None:
    """SEW ResNet-18, one sample, T steps at once."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    config = replace(NETWORKS["sew-resnet18"], in_channels=channels, neuron=ZERO_RESET)
    network = SpikingResNet(config)
    if channels == 2:
        x_seq = (torch.rand(steps, 1, 2, size, size, generator=generator) < 0.05).float()
    else:
        x_seq = torch.randn(1, 1, channels, size, size, generator=generator).expand(steps, -1, -1, -1, -1)
    reached = at_rate(network, x_seq, rate)
    best = folded(network)
    engines = {choice: Engine(network, size, size, choice=choice) for choice in ("auto", "events", "dense")}
    variants: dict[str, Callable[[], Any]] = {
        "network, folded, channels last (torch)": inference(best, x_seq),
        "the same, bfloat16": inference(best, x_seq, torch.bfloat16),
        "engine": lambda: engines["auto"].run(x_seq),
        "engine, events alone": lambda: engines["events"].run(x_seq),
        "engine, dense alone": lambda: engines["dense"].run(x_seq),
    }
    base = "network, folded, channels last (torch)"
    if find_spec("spikingjelly"):
        base = "SpikingJelly multi-step"
        variants = {base: inference(spikingjelly_resnet(network), x_seq), **variants}
    if find_spec("openvino"):
        for precision in ("f32", "bf16"):
            variants[f"OpenVINO {precision}"] = openvino(network, x_seq.contiguous(), precision)
    with torch.inference_mode():
        logits = network(x_seq)[0]
    result = engines["auto"].run(x_seq)
    timings = paired(variants, base, rounds)
    print_table(f"{name}, neurons fire at {reached:.1%}", timings, base)
    print(f"logits of {logits.abs().max():.2f} differ by {(result.logits - logits).abs().max():.1e}")
    print_uses(engines["auto"])


def bench_converted(rounds: int, steps: int = 32) -> None:
    """CIFAR ResNet-18, converted; one image, T steps."""
    torch.manual_seed(0)
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
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
    network = convert(ann.eval(), [images], "half", steps=steps)
    x_seq = images[:1].expand(steps, -1, -1, -1, -1)
    engine = Engine(network, 32, 32)
    state = engine.initial_state()

    def stepwise() -> None:
        carried = state
        for x in x_seq:
            carried = engine.run(x[None], carried).state

    batch = images[:1].expand(steps, -1, -1, -1).contiguous()
    variants: dict[str, Callable[[], Any]] = {
        "ANN, one batch of T images": inference(ann, batch),
        "converted network, T at once": lambda: network(x_seq[:1], None, steps),
        "engine, step by step": stepwise,
        "engine, T at once": lambda: engine.run(x_seq),
    }
    base = "ANN, one batch of T images"
    if find_spec("spikingjelly"):
        base = "SpikingJelly step loop"
        variants = {**spikingjelly_converted(ann, images, x_seq), **variants}
    timings = paired(variants, base, rounds)
    print_table(f"CIFAR ResNet-18 converted, T = {steps}, a step of one image", timings, base, per=steps)
    engine.uses()
    engine.run(x_seq)
    print_uses(engine)


def spikingjelly_converted(ann: nn.Module, images: Tensor, x_seq: Tensor) -> dict[str, Callable[[], Any]]:
    """The ANN through SpikingJelly's own converter, in both of its step modes."""
    from spikingjelly.activation_based import ann2snn, functional
    from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    recipe = RateCodingRecipe(dataloader=[(images, torch.zeros(len(images)))], mode="99.9%")
    single = ann2snn.Converter(recipe=recipe).convert(copy.deepcopy(ann)).eval()
    multi = copy.deepcopy(single)
    functional.set_step_mode(multi, "m")
    merged = x_seq.contiguous()

    def loop() -> None:
        functional.reset_net(single)
        with torch.inference_mode():
            for x in x_seq:
                single(x)

    def whole() -> None:
        functional.reset_net(multi)
        with torch.inference_mode():
            multi(merged)

    return {"SpikingJelly step loop": loop, "SpikingJelly multi-step": whole}


def read_windows(card: Card, folder: Path) -> Tensor:
    """The first windows of 32 recordings, uint8 [T, 32, 2, H, W]."""
    windows: list[Tensor] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        recording = read_recording(path)
        windows.append(torch.from_numpy(encoder_for(card.contract, recording.size)(recording.events)))
        if len(windows) == 32:
            return torch.cat(windows, 1)
    raise SystemExit(f"{folder} has fewer than 32 recordings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checkpoint", help="a trained event model for the first table")
    parser.add_argument("--recordings", type=Path, help="event files that the checkpoint's table reads")
    parser.add_argument("--quick", action="store_true", help="without the ResNet-18s")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    keep_memory()  # as the commands do
    print_machine(engine_status())
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    card = None
    if args.checkpoint:
        network, card = load(args.checkpoint)
        assert isinstance(network, SpikingResNet)
        size = (card.contract.height, card.contract.width)
    else:
        network, size = SpikingResNet(NETWORKS["event-medium"]), (34, 34)
        x_seq = (torch.rand(10, 8, 2, *size, generator=generator) < 0.05).float()
        print(f"random weights, firing at {at_rate(network, x_seq, 0.1):.1%}")

    recorded = read_windows(card, args.recordings) if card is not None and args.recordings else None

    def x_of(streams: int) -> Tensor:
        if recorded is not None:
            return recorded[:, :streams]
        return (torch.rand(10, streams, 2, *size, generator=generator) < 0.05).to(torch.uint8)

    bench_streams(network, x_of, size, args.rounds)
    bench_converted(args.rounds)
    if args.quick:
        return
    for rate in (0.03, 0.07, 0.15):
        bench_resnet18("SEW ResNet-18, T = 4, 3x224x224", 3, 4, 224, rate, args.rounds)
        bench_resnet18("SEW ResNet-18, T = 10, 2x128x128", 2, 10, 128, rate, args.rounds)


if __name__ == "__main__":
    main()
