"""Networks for other runtimes: ONNX, torch.export and NIR, each compared with the network before it is written.

ONNX and torch.export hold one step with the membranes as explicit inputs and outputs (`state.NAME` to `after.NAME`,
batch first, zeros before the first step), or a window of T steps. The event contract and the labels travel in the
file. The comparison runs 50 steps, each side carrying its own state, and names the first layer that differs.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import Card, Contract
from models.neurons import State
from models.resnet import zero_state

PARITY_STEPS, STREAMS = 50, 2
TOLERANCE = 1e-3  # of membranes and logits; a spike that flips moves a membrane by its threshold
TIES = 1e-3  # share of a layer's neurons that may differ: potentials within rounding of the threshold
Runner = Callable[[Tensor, State], tuple[Tensor, State]]  # (x_seq [T, N, C, H, W], state) -> (logits [T, N, K], state)


class ExportError(ValueError):
    """An export that cannot be, or would not be what the network is, in one sentence."""


@dataclass(frozen=True)
class Parity:
    """What the comparison saw."""

    steps: int
    logits: float  # largest difference
    ties: int  # membranes that differed by more than rounding, summed over the comparisons
    membranes: int  # of how many


class Flat(nn.Module):
    """The network with its state spread out: (x, *state) to (logits, *state); x [N, C, H, W] unless `window`."""

    def __init__(self, network: nn.Module, keys: tuple[str, ...], window: bool) -> None:
        super().__init__()
        self.network, self.keys, self.window = network, keys, window

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, after = self.network(x if self.window else x[None], dict(zip(self.keys, state)))
        return (logits if self.window else logits[0], *(after[key] for key in self.keys))


def example_inputs(contract: Contract, steps: int, streams: int = STREAMS) -> Tensor:
    """Seeded inputs of the contract's kind, float32 [T, N, C, H, W]: 5 % events, or normal pixels."""
    generator = torch.Generator().manual_seed(0)
    shape = (steps, streams, contract.channels, contract.height, contract.width)
    if contract.kind == "events":
        return (torch.rand(shape, generator=generator) < 0.05).float()
    return torch.randn(shape, generator=generator)


def start_state(network: nn.Module, contract: Contract, streams: int = STREAMS) -> State:
    """The state before the first step."""
    return zero_state(network, contract.channels, contract.height, contract.width, streams)


@torch.no_grad()
def check_parity(network: nn.Module, run: Runner, contract: Contract, window: int = 1) -> Parity:
    """Compare over 50 steps, `window` at a time, each side with its own carried state.

    Raises ExportError that names the first layer whose membranes differ in more than a few ties.
    """
    ours = theirs = start_state(network, contract)
    chunks = example_inputs(contract, -(-PARITY_STEPS // window) * window).split(window)
    gap, ties, membranes = 0.0, 0, 0
    for number, x_seq in enumerate(chunks, 1):
        logits, ours = network(x_seq, ours)
        other, theirs = run(x_seq, theirs)
        for key, expected in ours.items():
            different = int(((expected - theirs[key]).abs() > TOLERANCE).sum())
            if different > 1 + TIES * expected.numel():
                raise ExportError(f"not exported: after step {number * window}, {different} neurons of {key} differ")
            ties, membranes = ties + different, membranes + expected.numel()
        gap = max(gap, float((logits - other).abs().max()))
        if not ties and gap > TOLERANCE:
            raise ExportError(f"not exported: by step {number * window} the logits of the read-out differ by {gap:.1e}")
    return Parity(len(chunks) * window, gap, ties, membranes)


def metadata(card: Card, state: State) -> dict[str, str]:
    """What a user of the file must know, as text."""
    return {
        "spikesight.contract": json.dumps(asdict(card.contract)),
        "spikesight.labels": json.dumps(card.labels),
        "spikesight.state": json.dumps({key: list(tensor.shape[1:]) for key, tensor in state.items()}),
    }


def import_extra(name: str) -> Any:
    """A module of the export extra. Raises ExportError that says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise ExportError(f"{name} is missing: pip install 'spikesight[export]'") from None


@contextmanager
def quiet_tracing() -> Any:
    """The exporters warn about their own internals."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Traceable:
    """What the tracing exporters take."""

    module: Flat
    arguments: tuple[Tensor, ...]
    dynamic: dict[str, Any]
    state: State


def make_traceable(network: nn.Module, card: Card, window: int | None) -> Traceable:
    """The network ready to be traced, with a free batch size."""
    state = start_state(network, card.contract)
    x = example_inputs(card.contract, window or 1)
    batch = torch.export.Dim("batch", min=1, max=4096)
    module = Flat(network, tuple(state), window is not None).eval()
    dynamic = {"x": {1 if window else 0: batch}, "state": tuple({0: batch} for _ in state)}
    return Traceable(module, (x if window else x[0], *state.values()), dynamic, state)


def as_runner(call: Callable[[tuple[Tensor, ...]], list[Tensor]], window: int | None) -> Runner:
    """A runtime's flat call as a runner of `window` or 1 steps."""

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        logits, *after = call((x_seq if window else x_seq[0], *state.values()))
        return logits if window else logits[None], dict(zip(state, after))

    return run


def write_onnx(network: nn.Module, card: Card, path: Path, window: int | None) -> None:
    """One ONNX file; inputs x and state.NAME, outputs logits and after.NAME."""
    for package in ("onnx", "onnxscript"):
        import_extra(package)
    trace = make_traceable(network, card, window)
    with quiet_tracing():
        program = torch.onnx.export(
            trace.module,
            trace.arguments,
            dynamo=True,
            dynamic_shapes=trace.dynamic,
            input_names=["x", *(f"state.{key}" for key in trace.state)],
            output_names=["logits", *(f"after.{key}" for key in trace.state)],
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata(card, trace.state))
    program.save(path, external_data=False)


def read_onnx(path: Path, window: int | None) -> Runner:
    """The file under onnxruntime, one thread."""
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]

    def call(arguments: tuple[Tensor, ...]) -> list[Tensor]:
        outputs = session.run(None, {name: value.numpy() for name, value in zip(names, arguments)})
        return [torch.from_numpy(output) for output in outputs]

    return as_runner(call, window)


def write_torch(network: nn.Module, card: Card, path: Path, window: int | None) -> None:
    """A torch.export archive (.pt2) with the same arguments and results; metadata as extra files."""
    trace = make_traceable(network, card, window)
    with quiet_tracing():
        program = torch.export.export(trace.module, trace.arguments, dynamic_shapes=trace.dynamic)
        torch.export.save(program, path, extra_files=metadata(card, trace.state))


def read_torch(path: Path, window: int | None) -> Runner:
    """The archive, loaded."""
    with quiet_tracing():
        module = torch.export.load(path).module()
    return as_runner(lambda arguments: list(module(*arguments)), window)


FORMATS: dict[str, tuple[Callable[..., None], Callable[..., Runner], str]] = {
    "onnx": (write_onnx, read_onnx, ".onnx"),
    "torch": (write_torch, read_torch, ".pt2"),
}
"""Writer, reader and file ending by name."""


def export(network: nn.Module, card: Card, kind: str, path: Path | str, *, window: int | None = None) -> Parity:
    """Write `path` if what it holds behaves as the network does; `window`: a form of that many steps, not of one.

    Raises ExportError; nothing is written then.
    """
    write, read, ending = FORMATS[kind]
    path = Path(path)
    if path.suffix != ending:
        raise ExportError(f"a file of format {kind} must end in {ending}")
    if any(p.device.type != "cpu" for p in network.parameters()):
        raise ExportError("only a network on the CPU is exported")
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = Path(folder) / path.name
        write(network, card, partial, window)
        parity = check_parity(network, read(partial, window), card.contract, window or 1)
        os.replace(partial, path)  # noqa: PTH105
    return parity
