"""Export a network to ONNX or NIR; each file is compared with the network before it is kept.

An ONNX file holds one step with the membranes as explicit inputs and outputs (`state.NAME` and `after.NAME`, batch
first, zeros before the first step); for a calibrated model also `rates`, for the score `in_distribution`. Event
contract, labels and the constants for `in_distribution` are metadata of the file.
"""

import json
import os
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.contract import Card
from spikesight.models.export.nir import write_nir
from spikesight.models.export.parity import ExportError, Runner, compared, example_inputs, import_extra
from spikesight.models.neurons.state import State, zero_state
from spikesight.models.novelty.rates import Rates

ENDINGS = (".onnx", ".nir")


class Flat(nn.Module):
    """The network with its state as separate arguments: (x, *state) to (logits, *state), x [N, C, H, W]. With
    `rates` > 0, that many layers' firing rates follow (models/novelty/rates.py), for the score `in_distribution`.
    """

    def __init__(self, network: nn.Module, keys: tuple[str, ...], rates: int) -> None:
        super().__init__()
        self.network, self.keys = network, keys
        self.rates = Rates(network, rates) if rates else None

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, after = self.network(x[None], dict(zip(self.keys, state)))
        outputs = (logits[0], *(after[key] for key in self.keys))
        return outputs if self.rates is None else (*outputs, self.rates.read()[0])


def metadata(card: Card, state: State) -> dict[str, str]:
    """Return what a user of the file must know, as text."""
    known = {"spikesight.in_distribution": json.dumps(card.novelty.facts())} if card.novelty else {}
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


def write_onnx(network: nn.Module, card: Card, path: Path) -> None:
    """Write an ONNX file with inputs x and state.NAME, outputs logits and after.NAME; the batch is free."""
    for package in ("onnx", "onnxscript"):
        import_extra(package)
    x = example_inputs(card.contract, 1)[0]
    state = zero_state(network, *card.contract.shape, len(x))
    batch = torch.export.Dim("batch", min=1, max=4096)
    module = Flat(network, tuple(state), card.novelty.layers if card.novelty else 0).eval()
    dynamic: dict[str, Any] = {"x": {0: batch}}
    if state:  # an ANN has no state
        dynamic["state"] = tuple({0: batch} for _ in state)
    try:
        with quiet_tracing():
            program = torch.onnx.export(
                module,
                (x, *state.values()),
                dynamo=True,
                dynamic_shapes=dynamic,
                input_names=["x", *(f"state.{key}" for key in state)],
                output_names=["logits", *(f"after.{key}" for key in state), *(["rates"] if card.novelty else [])],
                verbose=False,
            )
    finally:
        if module.rates is not None:
            module.rates.close()
    assert program is not None
    program.model.metadata_props.update(metadata(card, state))
    program.save(path, external_data=False)


def read_onnx(path: Path) -> Runner:
    """Load an ONNX file into onnxruntime with one thread. It starts from zeros; the state is by the names of inputs."""
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ports = session.get_inputs()[1:]

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        held = {port.name: torch.zeros(x_seq.shape[1], *port.shape[1:]) for port in ports} | state
        found = []
        for x in x_seq:
            outputs = session.run(None, {"x": x.numpy(), **{name: value.numpy() for name, value in held.items()}})
            logits, *after = map(torch.from_numpy, outputs)
            found.append(logits)
            held = dict(zip(held, after))
        return torch.stack(found), held

    return run


def export(network: nn.Module, card: Card, path: Path | str) -> str:
    """Write the network to `path` (.onnx or .nir) if the file computes the same; return a sentence on how it compares.

    Raises ExportError, and then writes nothing.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ExportError(f"a file must end in {' or '.join(ENDINGS)}, not {path.name}")
    if any(p.device.type != "cpu" for p in network.parameters()):
        raise ExportError("only a network on the CPU is exported")
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = Path(folder) / path.name
        if path.suffix == ".nir":
            said = write_nir(network, card, partial)
        else:
            write_onnx(network, card, partial)
            said = compared(network, read_onnx(partial), card.contract)
        os.replace(partial, path)  # noqa: PTH105
    return said
