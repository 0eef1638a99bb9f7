"""Checkpoints: a folder with `model.safetensors` and `config.json`. Loading executes nothing in it.

`config.json` holds the network's shape, the event contract (what the network must be fed), the labels, how it was
trained and what was measured. The weights' file also holds the calibration of `in_distribution` (models/novelty), as
tensors whose names begin with "known.", unless it was never calibrated. Loading checks every field and every tensor and
refuses unknown ones; `sha256` in `config.json` must be the hash of the weights' file.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spikesight.encoders.plugins import extend
from spikesight.encoders.words import counted
from spikesight.models.contract import Card, CheckpointError, Contract, Facts
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.imported import ImportedConfig, ImportedNetwork
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.layers import Neuron
from spikesight.models.novelty import NoveltyDetector
from spikesight.models.novelty.conformal import Conformal

FORMAT = 1
MAX_CONFIG_BYTES = 1 << 20
WEIGHTS, CONFIG = "model.safetensors", "config.json"
KNOWN, CONFORMAL = "known.", "conformal."  # prefixes of the tensors of novelty detector and conformal calibration
T = TypeVar("T")


NETWORK_KINDS: dict[str, tuple[type, Callable[[Any], nn.Module]]] = {
    "spiking-resnet": (ResNetConfig, SpikingResNet),
    "converted": (ConvertedConfig, ConvertedNetwork),
    "taught": (TaughtConfig, TaughtNetwork),
    "imported": (ImportedConfig, ImportedNetwork),
}
"""Kinds of network that a checkpoint can hold: configuration class and constructor."""


def load_plugins() -> None:
    """Register networks of installed packages: shapes in NETWORKS, (configuration, class) in NETWORK_KINDS."""
    extend("networks", {ResNetConfig: NETWORKS, tuple: NETWORK_KINDS})


def _kind_of(network: nn.Module) -> str:
    load_plugins()
    for name, (config, _) in NETWORK_KINDS.items():
        if isinstance(getattr(network, "config", None), config):
            return name
    raise CheckpointError(f"{type(network).__name__} is not a kind of network that a checkpoint can hold")


def from_json(kind: type[T], data: Any, where: str = "config") -> T:
    """Return a dataclass from parsed JSON. Raises CheckpointError naming an unknown, missing or ill-typed field."""
    try:  # via JSON, since strict validation of JSON accepts a list for a tuple and converts nothing else
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join([where, *map(str, first["loc"])])[:200]
        raise CheckpointError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def save(folder: Path | str, network: nn.Module, card: Card) -> None:
    """Write a checkpoint. Both files are written under temporary names and then renamed: all or nothing.

    Raises CheckpointError for a network of unknown kind, if there is not one label for each class, or if neuron layers
    share a state; OSError if the folder cannot be written.
    """
    kind = _kind_of(network)
    keys = [module.key for module in network.modules() if isinstance(module, Neuron)]
    if len(keys) > len({*keys}):
        raise CheckpointError("neuron layers share a state: call name_states(self) at the end of __init__")
    _check_labels(card, network.config.classes)  # type: ignore[arg-type,union-attr]
    folder = Path(folder)
    document = {"format": FORMAT, "kind": kind, "network": asdict(network.config), "card": asdict(card.facts())}  # type: ignore[call-overload]
    with replacing(folder / WEIGHTS, folder / CONFIG) as (weights, config):
        save_file(_stored_tensors(network, card), weights)
        document["sha256"] = sha256_of(weights)
        config.write_text(json.dumps(document, indent=1) + "\n")


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Yield temporary files that replace these files of one folder on success, and are removed on failure.

    They are on the disk before the first one replaces another, so that a power cut leaves none half written. Raises
    OSError if they cannot be written.
    """
    folder = paths[0].parent
    made = [new for new in (folder, *folder.parents) if not new.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    partial = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    try:
        yield partial
        for written in partial:
            _flush(written)
        for written, path in zip(partial, paths):
            written.replace(path)
        _flush(folder)
    except BaseException as error:
        for path in partial:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            for new in made:
                new.rmdir()
        if isinstance(error, SafetensorError):  # raised by safetensors when the disk is full
            raise OSError(f"{folder} cannot be written: {error}") from error
        raise


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_labels(card: Card, classes: int) -> None:
    """Raise CheckpointError unless there is one label for each class."""
    if len(card.labels) != classes:
        raise CheckpointError(f"{counted(len(card.labels), 'label')} for {counted(classes, 'class')}")


def _stored_tensors(network: nn.Module, card: Card) -> dict[str, Tensor]:
    """Return the tensors to be stored: weights, novelty detector and conformal calibration."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    for prefix, judge in ((KNOWN, card.novelty), (CONFORMAL, card.conformal)):
        if judge is not None:
            tensors |= {prefix + n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in judge.state().items()}
    return tensors


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pop_prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, np.ndarray]:
    """Remove and return the tensors whose names have this prefix, without the prefix. Raises CheckpointError."""
    found = {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
    if any(tensor.dtype != torch.float32 for tensor in found.values()):
        raise CheckpointError(f"{WEIGHTS}: a tensor {prefix}* is not float32")
    return {name: tensor.numpy() for name, tensor in found.items()}


def _conformal_of(tensors: dict[str, Tensor], classes: int) -> Conformal | None:
    """Remove and return the conformal calibration from a checkpoint's tensors. Raises CheckpointError."""
    state = _pop_prefixed(tensors, CONFORMAL)
    if not state:
        return None
    try:
        return Conformal.from_state(state, classes)
    except ValueError as error:
        raise CheckpointError(f"{WEIGHTS}: what commitments are judged by: {error}") from None


def _known_of(tensors: dict[str, Tensor], contract: Contract) -> NoveltyDetector | None:
    """Remove and return the novelty detector from a checkpoint's tensors. Raises CheckpointError."""
    state = _pop_prefixed(tensors, KNOWN)
    if not state:
        return None
    try:
        known = NoveltyDetector.from_state(state)
        lengths = [(contract.horizon, known.longest)]
        for bin_us, lines in known.bins.items():
            lengths += [(contract.at(bin_us / 1000).horizon, len(lines.kept))]
    except ValueError as error:
        raise CheckpointError(f"{WEIGHTS}: what `in_distribution` is judged by: {error}") from None
    for horizon, longest in lengths:
        if longest != horizon:
            raise CheckpointError(
                f"{WEIGHTS}: `in_distribution` is for windows of {longest} steps, the read-out has {horizon}"
            )
    return known


def read_config(folder: Path | str) -> tuple[str, Any, Card]:
    """Return kind of network, configuration and card without reading weights. Raises CheckpointError."""
    return _read_document(_document(folder))


def _document(folder: Path | str) -> dict[str, Any]:
    """Return the content of config.json with its mandatory fields checked. Raises CheckpointError."""
    path = Path(folder) / CONFIG
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{CONFIG} is no file")
        if found.st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{CONFIG} is larger than {MAX_CONFIG_BYTES} bytes")
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"no {CONFIG} in {Path(folder).name}: a checkpoint is a folder that has one") from None
    except OSError as error:
        raise CheckpointError(f"{CONFIG} cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # ValueError: a number of thousands of digits, too
        raise CheckpointError(f"{CONFIG} is not JSON") from None
    if not isinstance(document, dict) or set(document) != {"format", "kind", "network", "card", "sha256"}:
        raise CheckpointError(f"{CONFIG} must have exactly format, kind, network, card and sha256, of its weights")
    if document["format"] != FORMAT:
        raise CheckpointError(f"{CONFIG} has format {document['format']!r}; this version reads {FORMAT}")
    return document


def _read_document(document: dict[str, Any]) -> tuple[str, Any, Card]:
    """Return the three parts of config.json, each checked."""
    kind, network = str(document["kind"]), document["network"]
    if kind not in NETWORK_KINDS:
        load_plugins()
    if kind not in NETWORK_KINDS:
        raise CheckpointError(f"unknown kind of network; known: {', '.join(NETWORK_KINDS)}")
    config = from_json(NETWORK_KINDS[kind][0], network, "network")
    return kind, config, Card(**vars(from_json(Facts, document["card"], "card")))


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read the weights' file and check its SHA-256. Raises CheckpointError."""
    try:
        if not path.is_file():
            raise CheckpointError(f"no {WEIGHTS} in {path.parent.name}: only safetensors weights are read")
        differs = sha256_of(path) != sha256
    except OSError as error:
        raise CheckpointError(f"{WEIGHTS} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if differs:
        raise CheckpointError(
            f"{WEIGHTS} of {path.parent.name} is damaged or not the one that {CONFIG} was saved with "
            "(its SHA-256 differs): fetch, or save, both files again"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        raise CheckpointError(f"{WEIGHTS} is not a safetensors file") from None


def load(folder: Path | str) -> tuple[nn.Module, Card]:
    """Load the network (in evaluation mode) and its card from safetensors, never a pickle. Raises CheckpointError."""
    document = _document(folder)
    kind, config, card = _read_document(document)
    tensors = _tensors(Path(folder) / WEIGHTS, document["sha256"])
    try:
        network = NETWORK_KINDS[kind][1](config).float()  # also where the caller's new tensors are float64
    except (ValueError, KeyError, RuntimeError) as error:  # RuntimeError: PyTorch has no memory for it, too
        raise CheckpointError(f"the network cannot be made: {str(error).splitlines()[0][:200]}") from None
    known, conformal = _known_of(tensors, card.contract), _conformal_of(tensors, len(card.labels))
    _check_weights(tensors, network.state_dict())
    if card.contract.task == "detection" and not getattr(network, "reach", 0):
        raise CheckpointError(f"{CONFIG}: this network has no output cells, so it detects nothing in a full frame")
    network.load_state_dict(tensors)
    _check_labels(card, config.classes)
    return network.eval(), replace(card, novelty=known, conformal=conformal)


def _check_weights(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless the tensors have the names, shapes and types of those expected, and are finite."""
    if set(tensors) != set(expected):
        raise CheckpointError(f"{WEIGHTS} does not hold the tensors of the network that {CONFIG} describes")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise CheckpointError(f"{WEIGHTS}: {name} has the wrong shape or type")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{WEIGHTS}: {name} has values that are not finite")
