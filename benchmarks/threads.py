"""Speed-up by threads: one call in one thread and in all of them, against other libraries, by the wall clock.

    python -m benchmarks.threads [--threads N] [--rounds 15] [--rate 7]

one call    ResNet-18 at T = 4, 3x224x224, at the stated firing rate, per cent; one step of 1 and of 32 streams of the
            digit model
on paper    an estimate for up to 16 threads: each layer's work divided into its jobs, plus a hand-over for each layer
many calls  calls a second of the digit model, with as many Python threads calling it

Wall time is meaningful only on a machine with idle cores; the tables name its load.
"""

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

import spikesight
from benchmarks.common import report
from benchmarks.common.engines import uses
from benchmarks.common.networks import Variants, folded, inference
from benchmarks.common.timing import begin, paired, print_table
from benchmarks.engine import at_firing_rate, peers
from spikesight.encoders.emulator.saccades import saccades
from spikesight.models.engine.engine import HAND_OVER_NS, Engine, engine_status, rounds_weights
from spikesight.models.engine.structs import NativeLayer
from spikesight.models.native.threads import use_threads
from spikesight.models.networks.resnet import SpikingResNet

SIZE, STEPS = 224, 20


def with_threads(count: int, work: Callable[[], object]) -> Callable[[], object]:
    """Return `work` run with `count` threads of the engine and of PyTorch."""

    def run() -> object:
        use_threads(count)
        torch.set_num_threads(count)
        return work()

    return run


def in_each(work: Callable[[], object], name: str, count: int) -> Variants:
    """Return the same work as two variants: with one thread and with `count`."""
    return {f"{name}, 1 thread": with_threads(1, work), f"{name}, {count} threads": with_threads(count, work)}


def bench_image(name: str, network: SpikingResNet, x_seq: Tensor, count: int, rounds: int) -> None:
    """Time one image by the engine and by other libraries."""
    best = folded(network)
    variants: Variants = {}
    for precision in ("fp32", "bf16") if rounds_weights("bf16") else ("fp32",):
        engine = Engine(network, SIZE, SIZE, precision=precision)
        variants |= in_each(lambda engine=engine: engine.run(x_seq), f"engine {precision}", count)
    variants |= in_each(inference(best, x_seq), "PyTorch, folded, channels last", count)
    for number in (1, count):
        made = peers(network, x_seq.contiguous(), number)
        variants |= {f"{label}, {number} thread{'s' * (number > 1)}": run for label, run in made.items()}
    base = "engine fp32, 1 thread"
    print_table(f"{name}: wall clock", paired(variants, base, rounds, time.perf_counter), base)


def jobs(layer: NativeLayer, threads: int) -> int:
    """Return the number of jobs that a layer's sums are divided into, as the engine's `rows_together` does."""
    chunks, least = layer.channels // layer.chunk, min(layer.height, 4)
    near = max(16384 // (layer.width * layer.chunk), 4)
    bands = max(math.ceil(layer.height / near), math.ceil(4 * threads / chunks))
    return chunks * math.ceil(layer.height / max(math.ceil(layer.height / bands), least))


def bench_paper(name: str, network: SpikingResNet, x_seq: Tensor, rounds: int) -> None:
    """Estimate the time with more cores than the machine has, if each were idle and memory fast enough."""
    engine, whole, spent = Engine(network, SIZE, SIZE), math.inf, np.zeros(0)
    layers = [layer for layer in engine.plan.layers if layer.neuron]
    use_threads(1)
    for _ in range(rounds):
        start = time.perf_counter()
        engine.run(x_seq)
        took, found = time.perf_counter() - start, [use.seconds for use in uses(engine) if use.seconds]
        if took < whole:
            whole, spent = took, np.array(found)
    report.table(f"{name}: on paper", "threads", "ms", "times 1 thread")
    print(f"\n{name}: on paper\n| threads | ms | x 1 thread |\n|---|---|---|")
    for count in (1, 2, 4, 8, 16):
        cut = np.array([jobs(layer, count) for layer in layers])
        shares = np.ceil(cut / count) / cut
        late = len(layers) * HAND_OVER_NS / 1e9 * (count > 1)
        seconds = whole - spent.sum() + float((spent * shares).sum()) + late
        report.row(str(count), seconds * 1e3, whole / seconds)
        print(f"| {count} | {seconds * 1e3:.1f} | {whole / seconds:.1f} |")


def bench_streams(streams: int, count: int, rounds: int) -> None:
    """Time one step of N streams of the digit model."""
    classifier = spikesight.load("nmnist").classifier
    shape = classifier.contract.shape
    x_seq = (torch.rand(1, streams, *shape, generator=torch.Generator().manual_seed(0)) < 0.05).to(torch.uint8)
    engine = Engine(classifier.network, *shape[1:])
    state = engine.run(x_seq).state
    variants = in_each(lambda: [engine.run(x_seq, state) for _ in range(STEPS)], "engine", count)
    base = "engine, 1 thread"
    timings = paired(variants, base, rounds, time.perf_counter)
    print_table(f"nmnist: one step of {streams} stream(s), wall clock", timings, base, per=STEPS)


def rate(work: Callable[[], object], threads: int) -> float:
    """Return how many calls of `work` a second `threads` threads complete when they start at once."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: work(), range(threads)))
        return threads / (time.perf_counter() - start)


def bench_calls(count: int, rounds: int) -> None:
    """Time calls of the digit model by `count` Python threads at once."""
    model, digit = spikesight.load("nmnist"), np.zeros((28, 28), np.uint8)
    digit[5:23, 13:16] = 255
    events, classifier = saccades(digit), model.classifier
    x_seq = (torch.rand(50, 8, *classifier.contract.shape) < 0.05).to(torch.uint8)
    works: dict[str, Callable[[], object]] = {
        "50 steps of 8 streams at once": lambda: classifier.run(x_seq, classifier.initial_state(8)),
        "20 recordings": lambda: [model.predict(events, (34, 34)) for _ in range(20)],
    }
    use_threads(1)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {classifier.runs_on}")
    for name, work in works.items():
        work()
        found = [(rate(work, 1), rate(work, count)) for _ in range(rounds)]
        one, many = (max(rates) for rates in zip(*found))
        print(f"{name}: {one:.2f} a second in one thread, {many:.2f} in {count}: {many / one:.2f} times as many")


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all of them")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rate", type=float, default=7, help="of the neurons, per cent")
    args = parser.parse_args()
    begin(engine_status())
    network, x_seq, _ = at_firing_rate("resnet18", SIZE, args.rate / 100)
    name = f"resnet18, T = 4, 3x{SIZE}x{SIZE}, neurons fire at {args.rate:g}%"
    bench_image(name, network, x_seq, args.threads, args.rounds)
    bench_paper(name, network, x_seq, args.rounds)
    for streams in (1, 32):
        bench_streams(streams, args.threads, args.rounds)
    bench_calls(args.threads, min(args.rounds, 5))
    report.write("threads", args.json)


if __name__ == "__main__":
    main()
