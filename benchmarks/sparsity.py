"""Where sparsity pays on a CPU: one image through ResNet-18 at T = 4, by the share of neurons that fire.

    python -m benchmarks.sparsity [--rates 1 2 5 7 10 15 20 30 50] [--threads 1 2] [--rounds 3]

The engine in float32 and bfloat16 against dense programs, which compute every product: PyTorch, SpikingJelly, ONNX
Runtime and OpenVINO, in float32, bfloat16 and int8, as far as they are installed. Weights are random; batch norms are
shifted until each neuron layer fires at the stated rate. Times are medians of interleaved rounds (A B C, C B A): CPU
time of one thread; wall time of several, which is meaningful only on a machine with idle cores.
"""

import os
import time
from functools import partial

from benchmarks.common import report
from benchmarks.common.networks import Variants, folded, inference, installed, spikingjelly_resnet
from benchmarks.common.timing import Timing, begin, paired
from benchmarks.engine import at_firing_rate, peers
from benchmarks.threads import with_threads
from spikesight.models.engine.engine import Engine, engine_status, rounds_weights

SIZE = 224
BASE = "engine float32"


def programs(rate: float, threads: int) -> Variants:
    """Return every program on the same image, each with `threads` threads."""
    network, x_seq, _ = at_firing_rate("resnet18", SIZE, rate)
    found: Variants = {BASE: partial(Engine(network, SIZE, SIZE).run, x_seq)}
    if rounds_weights("bf16"):
        found["engine bfloat16"] = partial(Engine(network, SIZE, SIZE, precision="bf16").run, x_seq)
    found["PyTorch float32"] = inference(folded(network), x_seq)
    if installed("spikingjelly"):
        found["SpikingJelly float32"] = inference(spikingjelly_resnet(network), x_seq)
    found |= peers(network, x_seq.contiguous(), threads)
    return {name: with_threads(threads, run) for name, run in found.items()}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--rates", nargs="+", type=float, default=[1, 2, 5, 7, 10, 15, 20, 30, 50], help="per cent")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    begin(engine_status())
    for threads in args.threads:
        by_rate: dict[float, dict[str, Timing]] = {}
        for rate in args.rates:
            clock = time.process_time if threads == 1 else time.perf_counter
            by_rate[rate] = paired(programs(rate / 100, threads), BASE, args.rounds, clock)
            told = (f"{name} {timing.milliseconds:.0f} ms" for name, timing in by_rate[rate].items())
            print(f"{threads} threads, {rate:g} % fire: {', '.join(told)}", flush=True)
        title = f"resnet18, T = 4, 3x{SIZE}x{SIZE}, {threads} thread{'s' * (threads > 1)}: ms by % of neurons that fire"
        report.table(title, "program", *(f"{rate:g}" for rate in args.rates))
        for name in by_rate[args.rates[0]]:
            report.row(name, *(by_rate[rate][name].milliseconds for rate in args.rates))
    report.write("sparsity", args.json)


if __name__ == "__main__":
    main()
