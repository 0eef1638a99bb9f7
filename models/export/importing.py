"""Import networks of other libraries: any NIR graph, and snnTorch's state dictionaries of linear layers (SpikingJelly's
residual networks: `jelly`).

A layer without an exact counterpart is refused by name. NIR's neurons are Euler steps of dt, as in `nir_network`: a LIF
is beta = 1 - dt/tau with an input gain of dt/tau R, an IF is beta = 1 with a gain of dt R; both reset to zero at once.
snnTorch's Leaky has beta, a threshold, and a reset in the next step, by subtraction or to zero.
"""

from collections.abc import Callable
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.models.export.chain import Chain, Tensors, config_of
from spikesight.models.export.jelly import Architecture, jelly_runner, of_jelly
from spikesight.models.export.nir_network import NirNetwork, faults_named, read_nir
from spikesight.models.export.parity import ExportError, Parity, check_parity, potentials
from spikesight.models.networks.ann import read_state
from spikesight.models.networks.imported import ImportedNetwork
from spikesight.models.neurons.state import State

POOL = ("kernel", "stride", "padding")
RESETS = {0: "subtract", 1: "zero"}  # snnTorch's reset_mechanism_val; 2 is none

ADVICE = (
    "write a NIR graph (export_to_nir of snntorch.export_nir, or of spikingjelly.activation_based.nir_exchange) "
    "and import that, or name the architecture of a residual network of SpikingJelly (FILE#sew_resnet18?neuron=IFNode)"
)


def import_network(path: Path, contract: Contract, dt: float | None = None) -> tuple[ImportedNetwork, Parity]:
    """Import a NIR file (.nir) or a state dictionary, and compare it over 50 steps with its original library.

    For a dictionary of SpikingJelly's residual networks, the architecture follows a # (see `jelly`). `contract`: what
    the network will be fed; `dt`: seconds a step, for a NIR file that does not say it. Raises ExportError, in a
    sentence that names the layer, and CheckpointError.
    """
    file, mark, text = str(path).rpartition("#")
    if mark and not path.exists():
        like, state = Architecture.parsed(text), read_state(Path(file))
        chain, classes = of_jelly(state, like, contract.shape)
        run = jelly_runner(state, like, contract.shape, classes)
    elif path.suffix == ".nir":
        theirs = read_nir(path, dt)
        chain, classes = of_nir(theirs)
        run = _nir_runner(theirs, chain.shape)
    else:
        chain, classes = of_snntorch(read_state(path), ordered=path.suffix != ".safetensors")
        run = _snntorch_runner(chain)
    if prod(chain.shape) != prod(contract.shape) or (len(chain.shape) == 3 and chain.shape != contract.shape):
        raise ExportError(f"not imported: it takes inputs of {chain.shape}, the contract gives {contract.shape}")
    network = chain.network(classes)
    ours = {theirs: name for name, theirs in chain.state_names().items()}
    try:
        return network, check_parity(
            network, run, contract,
            adopt=lambda _, state: {chain.state_names()[key]: value for key, value in state.items()},
            view=lambda _, state: potentials(network, {ours[key]: state[key] for key in ours}),
        )  # fmt: skip
    except ExportError as error:
        raise ExportError(str(error).replace("not exported", "not imported")) from None


# --- NIR


def of_nir(theirs: NirNetwork) -> tuple[Chain, int]:
    """Translate a NIR network; return the chain and the number of classes."""
    if theirs.looped:
        raise ExportError(
            f"not imported: layer {theirs.looped[0]} leads back, and our imported networks have no circles"
        )
    start = theirs.order[0]
    chain = Chain(theirs.input_shape)
    found = {start: chain.add("input", start, ())}
    with torch.no_grad():
        with faults_named(start):
            values = {start: torch.zeros(1, *chain.shape)}
        for name in theirs.order[1:]:
            sources, layer = [found[source] for source in theirs.sources[name]], theirs.module(name)
            with faults_named(name):
                source, x = sources[0], sum(values[source] for source in theirs.sources[name])
                y = layer(x, None)[0] if hasattr(layer, "fires") or hasattr(layer, "steps") else layer(x)
            for number, other in enumerate(sources[1:]):
                source = chain.add("add", f"{name}.sum{number}", (source, other))
            found[name], values[name] = _nir_node(chain, name, layer, source, x), y
    if found[theirs.end] != chain.nodes[-1].name:
        raise ExportError(f"not imported: layer {chain.nodes[-1].layer} leads nowhere")
    if values[theirs.end].ndim != 2:
        raise ExportError(f"not imported: its output is {tuple(values[theirs.end].shape[1:])}, not one number a class")
    return chain, values[theirs.end].shape[1]


def _nir_node(chain: Chain, name: str, layer: Any, source: str, x: Any) -> str:
    """Translate one layer of a NIR network, whose input is `source` with an example value x."""
    match layer:
        case nn.Identity():
            return source
        case nn.Conv2d() if isinstance(layer.padding, tuple):
            options = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
            return chain.add("conv", name, (source,), tensors_of(layer), **options)
        case nn.Linear():
            return chain.add("linear", name, (source,), tensors_of(layer))
        case nn.AvgPool2d(divisor_override=None) | nn.MaxPool2d():
            sizes: dict[str, Any] = {
                key: pair(getattr(layer, f"{key}_size" if key == "kernel" else key)) for key in POOL
            }
            op = "max_pool" if isinstance(layer, nn.MaxPool2d) else "avg_pool"
            return chain.add(op, name, (source,), ceil=layer.ceil_mode, **sizes)
        case nn.Flatten(start_dim=1, end_dim=-1):
            return chain.add("flatten", name, (source,))
    if getattr(layer, "fires", False):
        beta, gain = (_one(getattr(layer, key), name, key) for key in ("decay", "drive"))
        for key in ("rest", "v_reset"):
            if _one(getattr(layer, key), name, key):
                raise ExportError(f"not imported: layer {name}: its {key} is not 0")
        scaled = abs(gain - (1 - beta)) < 1e-7
        channels = int(x.shape[1])
        if not scaled and gain != 1:
            source = chain.add(
                "scale", f"{name}.gain", (source,), {"factor": torch.full((channels,), gain)}, shape=(channels,)
            )
        config = config_of(
            name, beta, _one(layer.threshold, name, "threshold"), scale_input=scaled, reset="zero", delay=False
        )
        return chain.neuron(name, source, channels, config)
    raise ExportError(f"not imported: layer {name} ({type(layer).__name__}) has no counterpart")


def tensors_of(layer: nn.Conv2d | nn.Linear) -> Tensors:
    """Return weight and bias of a layer; a missing bias is 0."""
    bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return {"weight": layer.weight, "bias": bias}


def pair(value: Any) -> tuple[int, ...]:
    """Return one size or two as a pair."""
    return (value, value) if isinstance(value, int) else tuple(value)


def _one(value: Tensor, name: str, what: str) -> float:
    """Return the number that all neurons of a layer share. Raises ExportError if they differ, or there is none."""
    if value.numel() != 1 and (not value.numel() or bool((value != value.flatten()[0]).any())):
        raise ExportError(f"not imported: layer {name}: its neurons differ in {what}")
    return float(value.flatten()[0])


def _nir_runner(theirs: NirNetwork, shape: tuple[int, ...]) -> Callable[[Tensor, State], tuple[Tensor, State]]:
    return lambda x_seq, state: theirs(x_seq.reshape(*x_seq.shape[:2], *shape), state)


# --- snnTorch


def of_snntorch(state: dict[str, Tensor], *, ordered: bool) -> tuple[Chain, int]:
    """Translate a state dictionary's layers in order; return the chain and the number of classes."""
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        name, _, part = key.rpartition(".")
        layers.setdefault(name, {})[part] = tensor
    if not ordered and not all(name.isdecimal() for name in layers):
        raise ExportError(
            "not imported: a safetensors file has forgotten the order of layers with names: torch.save it"
        )
    names = list(layers) if ordered else sorted(layers, key=int)
    if names and all(name.isdecimal() for name in names):  # a Sequential: a missing number may be a pool or a neuron
        gaps = {*range(int(names[0]), int(names[-1]))} - {*map(int, names)}
        if gaps:
            raise ExportError(f"not imported: layer {min(gaps)} has nothing in the dictionary: {ADVICE}")
    if not any("beta" in parts for parts in layers.values()):
        raise ExportError(
            f"not imported: no neuron has anything in the dictionary, as SpikingJelly's have not: {ADVICE}"
        )
    first = layers[names[0]].get("weight")
    width = first.shape[1] if first is not None and first.ndim == 2 else 0
    chain = Chain((width,))
    source = chain.add("input", "input", ())
    for name in names:
        parts = layers[name]
        if set(parts) | {"bias"} == {"weight", "bias"} and parts["weight"].ndim == 2:
            if parts["weight"].shape[1] != width:
                raise ExportError(f"not imported: layer {name} takes {parts['weight'].shape[1]} inputs, not {width}")
            width = parts["weight"].shape[0]
            tensors = {"weight": parts["weight"], "bias": parts.get("bias", torch.zeros(width))}
            source = chain.add("linear", name, (source,), tensors)
        elif set(parts) == {"threshold", "graded_spikes_factor", "reset_mechanism_val", "beta"}:
            numbers = {key: _one(value.float(), name, key) for key, value in parts.items()}
            if numbers["graded_spikes_factor"] != 1 or numbers["reset_mechanism_val"] not in RESETS:
                raise ExportError(f"not imported: layer {name} has graded spikes or no reset")
            reset = RESETS[int(numbers["reset_mechanism_val"])]
            beta = min(max(numbers["beta"], 0.0), 1.0)  # as snnTorch uses it
            source = chain.neuron(name, source, width, config_of(name, beta, numbers["threshold"], reset=reset))
        else:
            raise ExportError(
                f"not imported: layer {name} ({', '.join(parts)}): a state dictionary tells of no more than a chain of "
                f"linear layers and snnTorch's Leaky; {ADVICE}"
            )
    return chain, width


def _snntorch_runner(chain: Chain) -> Callable[[Tensor, State], tuple[Tensor, State]]:
    """Run the chain in snnTorch itself, for comparison."""
    try:
        leaky = import_module("snntorch").Leaky
    except ImportError:
        raise ExportError("snntorch is missing, with which its networks are compared: pip install snntorch") from None
    configs, layers = iter(chain.neurons), []
    for node in chain.nodes[1:]:
        if node.op == "neuron":
            config = next(configs)
            layers.append((node.layer, leaky(config.beta, config.theta, reset_mechanism=config.reset)))
        else:
            weight, bias = (chain.tensors[f"layers.{node.name}.{key}"] for key in ("weight", "bias"))
            layers.append(("", lambda x, weight=weight, bias=bias: nn.functional.linear(x, weight, bias)))

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        after, out = dict(state), []
        for x in x_seq.flatten(2):
            for name, layer in layers:
                if name:
                    x, after[name] = layer(x, after[name])
                else:
                    x = layer(x)
            out.append(x)
        return torch.stack(out), after

    return run
