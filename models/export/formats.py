"""Export a network to ONNX or NIR; each file is compared with the network before it is kept.

An ONNX file holds one step with the membranes as explicit inputs and outputs (`state.NAME` and `after.NAME`, batch
first, zeros before the first step), or a window of T steps; for a calibrated model also `rates`, for judging `known`. A
file for any bin takes `span`, a step's share of the trained one, after x. Event contract, labels and the constants for
`known` (at the contract's bin) are metadata of the file.

The comparison of an ONNX file runs 50 steps, each side with its own state, and names the first layer that differs.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikesight.models.contract import Card
from spikesight.models.export.nir import write_nir
from spikesight.models.export.parity import (
    ExportError,
    Runner,
    check_parity,
    example_inputs,
    import_extra,
    start_state,
)
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.layers import Neuron, at_pace
from spikesight.models.neurons.state import State
from spikesight.models.novelty.rates import Rates

ENDINGS = (".onnx", ".nir")


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


def write_onnx(network: nn.Module, card: Card, path: Path, window: int | None, spanned: bool = False) -> None:
    """Write an ONNX file with inputs x and state.NAME, outputs logits and after.NAME; the batch is free."""
    for package in ("onnx", "onnxscript"):
        import_extra(package)
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
            program = torch.onnx.export(
                module,
                (x if window else x[0], *span, *state.values()),
                dynamo=True,
                dynamic_shapes=dynamic,
                input_names=["x", *(["span"] if spanned else []), *(f"state.{key}" for key in state)],
                output_names=["logits", *(f"after.{key}" for key in state), *(["rates"] if card.novelty else [])],
                verbose=False,
            )
    finally:
        if module.rates is not None:
            module.rates.close()
    assert program is not None
    program.model.metadata_props.update(metadata(card, state))
    program.save(path, external_data=False)


def read_onnx(path: Path, window: int | None, span: float | None = None) -> Runner:
    """Load an ONNX file into onnxruntime with one thread, with this span if it takes one."""
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    said = () if span is None else (torch.tensor(span),)

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        given = (x_seq if window else x_seq[0], *said, *state.values())
        outputs = session.run(None, {name: value.numpy() for name, value in zip(names, given)})
        logits, *after = map(torch.from_numpy, outputs)
        return logits if window else logits[None], dict(zip(state, after))

    return run


def export(
    network: nn.Module, card: Card, path: Path | str, *, window: int | None = None, any_bin: bool = False
) -> str:
    """Write the network to `path` (.onnx or .nir) if the file computes the same; return a sentence on how it compares.

    Of ONNX: `window`: a form of that many steps instead of one; `any_bin`: a form that takes the step's length as an
    input, compared at the shortest bin. Raises ExportError, and then writes nothing.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ExportError(f"a file must end in {' or '.join(ENDINGS)}, not {path.name}")
    shortest, own = card.contract.bins_us
    if any_bin and (shortest == own or card.contract.input_us):
        raise ExportError("not exported: this model runs at its own bin alone; leave --bin-ms away")
    if path.suffix == ".nir" and (any_bin or window is not None):
        raise ExportError("a NIR graph has no steps: leave --window and --bin-ms away")
    if any(p.device.type != "cpu" for p in network.parameters()):
        raise ExportError("only a network on the CPU is exported")
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = Path(folder) / path.name
        if path.suffix == ".nir":
            said = write_nir(network, card, partial)
        else:
            span = shortest / own if any_bin else None
            write_onnx(network, card, partial, window, any_bin)
            twin = network if span is None else at_pace(network, span)
            said = str(check_parity(twin, read_onnx(partial, window, span), card.contract, window or 1))
        os.replace(partial, path)  # noqa: PTH105
    return said
