"""Export a network to ONNX, torch.export or NIR; each file is compared with the network before it is kept.

ONNX and torch.export files hold one step with the membranes as explicit inputs and outputs (`state.NAME` and
`after.NAME`, batch first, zeros before the first step), or a window of T steps; for a calibrated model also `rates`,
for judging `known`. A file for any bin takes `span`, a step's share of the trained one, after x. Event contract, labels
and the constants for `known` (at the contract's bin) are metadata of the file.

The comparison runs 50 steps, each side with its own state, and names the first layer that differs.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikesight.models.contract import Card
from spikesight.models.export.nir_state import nir_state, nir_view
from spikesight.models.export.nir_writer import NIR_PACE, run_nir, write_nir
from spikesight.models.export.parity import (
    ExportError,
    Parity,
    Runner,
    as_it_is,
    check_parity,
    example_inputs,
    import_extra,
    potentials,
    start_state,
)
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.layers import Neuron, at_pace
from spikesight.models.neurons.state import State
from spikesight.models.novelty.rates import Rates


class Flat(nn.Module):
    """The network with its state as separate arguments: (x, *state) to (logits, *state); x [N, C, H, W] unless
    `window`. With `spanned` it is (x, span, *state): a step's share of the trained one, float32 [] in (0, 1]. With
    `rates` > 0, that many layers' firing rates follow (models/novelty/rates.py), for judging `known`.
    """

    def __init__(
        self, network: nn.Module, keys: tuple[str, ...], window: bool, rates: int = 0, spanned: bool = False
    ) -> None:
        super().__init__()
        self.network, self.keys, self.window, self.spanned = network, keys, window, spanned
        self.rates = Rates(network, rates) if rates else None

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        with stepping(self.network, state[0] if self.spanned else None):
            logits, after = self.network(x if self.window else x[None], dict(zip(self.keys, state[self.spanned :])))
        outputs = (logits if self.window else logits[0], *(after[key] for key in self.keys))
        if self.rates is None:
            return outputs
        rates = self.rates.read()
        return (*outputs, rates if self.window else rates[0])


@contextmanager
def stepping(network: nn.Module, span: Tensor | None) -> Iterator[None]:
    """Set the step length of the network's neurons meanwhile, as a share of the trained one; None: leave it."""
    neurons = [] if span is None else [module for module in network.modules() if isinstance(module, Neuron)]
    for neuron in neurons:
        neuron.span = cast(Tensor, span)
    try:
        yield
    finally:
        for neuron in neurons:
            neuron.span = 1.0


def metadata(card: Card, state: State) -> dict[str, str]:
    """Return what a user of the file must know, as text."""
    known = {"spikesight.known": json.dumps(card.novelty.facts())} if card.novelty else {}
    return {
        **known,
        "spikesight.contract": json.dumps(asdict(card.contract)),
        "spikesight.labels": json.dumps(card.labels),
        "spikesight.state": json.dumps({key: list(tensor.shape[1:]) for key, tensor in state.items()}),
    }


@contextmanager
def quiet_tracing() -> Any:
    """Silence the exporters' warnings about their own internals."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def equations_only(network: nn.Module) -> Any:
    """Have converted neurons run their plain equations, since tracers cannot see through the compiled loops."""
    layers = [layer for layer in network.modules() if isinstance(layer, SpikeLayer)]
    for layer in layers:
        layer._compiled = layer._stepped
    try:
        yield
    finally:
        for layer in layers:
            del layer._compiled


Call = Callable[[tuple[Tensor, ...]], list[Tensor]]


@contextmanager
def traced(
    network: nn.Module, card: Card, window: int | None, spanned: bool
) -> Iterator[tuple[Flat, tuple[Tensor, ...], dict[str, Any], State]]:
    """Yield what tracing exporters take (module, arguments, dynamic sizes: the batch is free), and the zero state."""
    state = start_state(network, card.contract)
    x = example_inputs(card.contract, window or 1)
    batch = torch.export.Dim("batch", min=1, max=4096)
    module = Flat(network, tuple(state), window is not None, card.novelty.layers if card.novelty else 0, spanned).eval()
    dynamic: dict[str, Any] = {"x": {1 if window else 0: batch}}
    span = (torch.tensor(0.5),) if spanned else ()
    if state:  # an ANN has no state
        dynamic["state"] = (*({} for _ in span), *({0: batch} for _ in state))
    try:
        with quiet_tracing(), equations_only(network):
            yield module, (x if window else x[0], *span, *state.values()), dynamic, state
    finally:
        if module.rates is not None:
            module.rates.close()


def as_runner(call: Call, window: int | None, span: float | None) -> Runner:
    """Wrap a runtime's flat call as a Runner of `window` (None: one) steps, with this span if the file takes one."""
    said = () if span is None else (torch.tensor(span),)

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        logits, *after = call((x_seq if window else x_seq[0], *said, *state.values()))
        return logits if window else logits[None], dict(zip(state, after))

    return run


def write_onnx(network: nn.Module, card: Card, path: Path, window: int | None, spanned: bool = False) -> None:
    """Write an ONNX file with inputs x and state.NAME, outputs logits and after.NAME."""
    for package in ("onnx", "onnxscript"):
        import_extra(package)
    with traced(network, card, window, spanned) as (module, arguments, dynamic, state):
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=["x", *(["span"] if spanned else []), *(f"state.{key}" for key in state)],
            output_names=["logits", *(f"after.{key}" for key in state), *(["rates"] if card.novelty else [])],
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata(card, state))
    program.save(path, external_data=False)


def read_onnx(path: Path, window: int | None, span: float | None = None) -> Runner:
    """Load an ONNX file into onnxruntime with one thread."""
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]

    def call(arguments: tuple[Tensor, ...]) -> list[Tensor]:
        outputs = session.run(None, {name: value.numpy() for name, value in zip(names, arguments)})
        return [torch.from_numpy(output) for output in outputs]

    return as_runner(call, window, span)


def write_torch(network: nn.Module, card: Card, path: Path, window: int | None, spanned: bool = False) -> None:
    """Write a torch.export archive (.pt2) with inputs and outputs like ONNX; metadata are extra files."""
    with traced(network, card, window, spanned) as (module, arguments, dynamic, state):
        program = torch.export.export(module, arguments, dynamic_shapes=dynamic)
        torch.export.save(program, path, extra_files=metadata(card, state))


def read_torch(path: Path, window: int | None, span: float | None = None) -> Runner:
    """Load the exported program of a .pt2 file as a function of input and state."""
    with quiet_tracing():
        module = torch.export.load(path).module()
    return as_runner(lambda arguments: list(module(*arguments)), window, span)


@dataclass(frozen=True)
class Format:
    """A file format: its suffix, its writer, and how a written file is run."""

    write: Callable[..., None]  # (network, card, path, window), and optionally whether `span` is an input
    read: Callable[..., Runner]  # (path, window), and optionally the value of `span`
    ending: str
    adopt: Callable[[nn.Module, State], State] = as_it_is  # converts the network's state to the file's
    view: Callable[[nn.Module, State], State] = potentials  # converts back; membranes after their reset


FORMATS: dict[str, Format] = {
    "onnx": Format(write_onnx, read_onnx, ".onnx"),
    "torch": Format(write_torch, read_torch, ".pt2"),
    "nir": Format(write_nir, run_nir, ".nir", nir_state, nir_view),
}


def span_of(card: Card, kind: str) -> float:
    """Return the span of the shortest bin. Raises ExportError if the model or the format has only one bin."""
    shortest, own = card.contract.bins_us
    if shortest == own or card.contract.input_us:
        raise ExportError("not exported: this model runs at its own bin alone; leave --bin-ms away")
    if kind == "nir":
        raise ExportError(NIR_PACE)
    return shortest / own


def export(
    network: nn.Module, card: Card, kind: str, path: Path | str, *, window: int | None = None, any_bin: bool = False
) -> Parity:
    """Write the network to `path` if the file computes the same. `window`: a form of that many steps instead of one;
    `any_bin`: a form that takes the step's length as an input, compared at the shortest bin.

    Raises ExportError, and then writes nothing.
    """
    form, span = FORMATS[kind], span_of(card, kind) if any_bin else None
    path = Path(path)
    if path.suffix != form.ending:
        raise ExportError(f"a file of format {kind} must end in {form.ending}")
    if any(p.device.type != "cpu" for p in network.parameters()):
        raise ExportError("only a network on the CPU is exported")
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = Path(folder) / path.name
        form.write(network, card, partial, window, *([] if span is None else [True]))
        run = form.read(partial, window, *([] if span is None else [span]))
        twin = network if span is None else at_pace(network, span)
        parity = check_parity(twin, run, card.contract, window or 1, adopt=form.adopt, view=form.view)
        os.replace(partial, path)  # noqa: PTH105
    return parity
