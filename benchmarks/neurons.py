"""A LIF layer over T = 16 steps, forward and backward: our fused kernel against other libraries.

    python -m benchmarks.neurons [--rounds 5] [--small] [--compile] [--memory]

All have tau 2 and zero reset. SpikingJelly's layer has the same dynamics (spikes and gradients are compared first).
snnTorch, Norse and sinabs fire, reset and differentiate differently and are compared for speed only.
With --memory: the peak memory of a forward and backward pass beyond its input, each layer in its own process.

Run it twice, with the default allocator and with huge pages for all libraries:
GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592
"""

import argparse
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import report
from benchmarks.common.timing import paired, print_machine, print_table
from spikesight.models.engine.engine import engine_status
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.fused import fused_steps
from spikesight.models.neurons.layers import step

Layer = Callable[[Tensor], Tensor]
LIF = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True)


def fused(x_seq: Tensor) -> Tensor:
    return fused_steps(x_seq, None, LIF)[0]


def plain_loop(x_seq: Tensor) -> Tensor:
    v, spikes = torch.zeros_like(x_seq[0]), []
    for x in x_seq:
        s, v = step(x, v, LIF)
        spikes.append(s)
    return torch.stack(spikes)


def spikingjelly(compiled: bool) -> dict[str, Layer]:
    from spikingjelly.activation_based import functional, neuron, surrogate

    node = neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="m", surrogate_function=surrogate.ATan())
    single = neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="s", surrogate_function=surrogate.ATan())

    def multi(x_seq: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x_seq)

    def loop(x_seq: Tensor) -> Tensor:
        functional.reset_net(single)
        return torch.stack([single(x) for x in x_seq])

    layers: dict[str, Layer] = {"SpikingJelly multi-step": multi, "SpikingJelly step loop": loop}
    if compiled:
        fresh = neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="m", surrogate_function=surrogate.ATan())

        def whole(x_seq: Tensor) -> Tensor:
            functional.reset_net(fresh)
            return fresh(x_seq)

        layers["SpikingJelly torch.compile"] = torch.compile(whole)
    return layers


def snntorch() -> dict[str, Layer]:
    import snntorch as snn

    layer = snn.Leaky(beta=0.5, reset_mechanism="zero")

    def loop(x_seq: Tensor) -> Tensor:
        v, spikes = layer.reset_mem(), []
        for x in x_seq:
            s, v = layer(x, v)
            spikes.append(s)
        return torch.stack(spikes)

    return {"snnTorch step loop": loop}


def norse() -> dict[str, Layer]:
    from norse.torch import LIFBoxCell, LIFBoxParameters

    cell = LIFBoxCell(LIFBoxParameters(tau_mem_inv=torch.tensor(500.0)))

    def loop(x_seq: Tensor) -> Tensor:
        state, spikes = None, []
        for x in x_seq:
            s, state = cell(x, state)
            spikes.append(s)
        return torch.stack(spikes)

    return {"Norse LIFBoxCell loop": loop}


def sinabs() -> dict[str, Layer]:
    import sinabs.layers as layers

    layer = layers.LIF(tau_mem=1.4427, train_alphas=False)

    def whole(x_seq: Tensor) -> Tensor:
        layer.reset_states()
        return layer(x_seq.transpose(0, 1)).transpose(0, 1)

    return {"sinabs LIF": whole}


PEERS: dict[str, Callable[[], dict[str, Layer]]] = {"snntorch": snntorch, "norse": norse, "sinabs": sinabs}


def gather_layers(compiled: bool) -> dict[str, Layer]:
    """Return our layers and those of the installed libraries."""
    layers: dict[str, Layer] = {"fused (ours)": fused, "plain loop (ours)": plain_loop}
    if find_spec("spikingjelly"):
        layers |= spikingjelly(compiled)
    for package, make in PEERS.items():
        try:
            layers |= make()
        except ImportError as error:
            print(f"{package} is not in the table: {error}")
    return layers


def check_same(layer: Layer, shape: tuple[int, ...], device: torch.device | str = "cpu") -> str:
    """Describe how far another layer's spikes and gradients are from ours on a small input."""
    results = []
    for run in (fused, layer):
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1.5
        x_seq = drawn.to(device).requires_grad_()
        spikes = run(x_seq)
        (gradient,) = torch.autograd.grad((spikes * x_seq.detach()).sum(), x_seq)
        results.append((spikes.detach(), gradient))
    different = int((results[0][0] != results[1][0]).sum())
    gap = (results[0][1] - results[1][1]).abs().max()
    return f"{different} of {results[0][0].numel()} spikes differ, gradients by {gap:.1e}"


def peak(layer: Layer, shape: tuple[int, ...]) -> float:
    """Return the peak memory of a forward and backward pass beyond its inputs, in units of the input tensor's size."""
    x_seq = (torch.randn(shape) * 1.5).requires_grad_()
    gradient = torch.randn(shape)
    layer(x_seq[:, :1, :1]).sum().backward()  # libraries loaded at the first call do not count
    x_seq.grad = None
    Path("/proc/self/clear_refs").write_text("5")  # reset the recorded peak
    before = _status_kb("VmRSS")
    layer(x_seq).backward(gradient)
    return (_status_kb("VmHWM") - before) * 1024 / (4 * x_seq.numel())


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def print_peaks(names: list[str], small: bool) -> None:
    """Print the peak memory of each variant, in a process that returns freed memory to the system at once."""
    print("\n| variant | peak memory, in tensors of the input's size |\n|---|---|")
    report.table("peak memory of forward + backward", "variant", "tensors of the input's size")
    for name in names:
        if "compile" in name:
            continue
        command = [sys.executable, "-m", "benchmarks.neurons", "--peak", name, *(["--small"] if small else [])]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
        environment.pop("GLIBC_TUNABLES", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        peak = done.stdout.strip().splitlines()[-1]
        print(f"| {name} | {peak} |")
        report.row(name, float(peak))


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="8 MiB a tensor instead of 128")
    parser.add_argument("--compile", action="store_true", help="SpikingJelly under torch.compile as well")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of times")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    shape = (16, 8, 16, 32, 32) if args.small else (16, 32, 64, 32, 32)
    if args.peak:
        torch.set_num_threads(1)
        print(f"{peak(gather_layers(compiled=False)[args.peak], shape):.2f}")
        return
    print_machine(engine_status())
    layers = gather_layers(args.compile)
    if args.memory:
        print_peaks(list(layers), args.small)
        report.write("neurons", args.json)
        return
    for name in layers:
        if name.startswith(("plain", "SpikingJelly m", "SpikingJelly t")):
            print(f"{name}: {check_same(layers[name], (16, 2, 64, 8, 8))}")
    x_seq = (torch.randn(shape) * 1.5).requires_grad_()
    gradient = torch.randn(shape)

    def train(layer: Layer) -> Callable[[], Any]:
        def run() -> None:
            x_seq.grad = None
            layer(x_seq).backward(gradient)

        return run

    def infer(layer: Layer) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                layer(x_seq)

        return run

    base = next((name for name in layers if name.startswith("SpikingJelly m")), "plain loop (ours)")
    pages = ", huge pages" if "GLIBC_TUNABLES" in os.environ else ""
    for title, mode in (("forward", infer), ("forward + backward", train)):
        timings = paired({name: mode(layer) for name, layer in layers.items()}, base, args.rounds)
        print_table(f"{list(shape)} float32, {title}{pages}", timings, base)
    report.write("neurons", args.json)


if __name__ == "__main__":
    main()
