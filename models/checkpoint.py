"""One checkpoint: a folder with `model.safetensors` and `config.json`. Nothing in it is ever executed.

`config.json` holds the network's shape, the event contract (what the network must be fed), the labels, how it was
trained and what was measured. Beside the weights lies what `known` is judged by (models/novelty): tensors whose names
begin with "known.", left out where it was never calibrated. Loading checks every field and every tensor and refuses
what it does not know; `sha256` in `config.json` is that of the weights' file, which must be the one it was saved with.
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
from spikesight.models.contract import Card, CheckpointError, Contract, Facts
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.imported import ImportedConfig, ImportedNetwork
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.novelty import NoveltyDetector
from spikesight.models.novelty.conformal import Conformal

FORMAT = 1
MAX_CONFIG_BYTES = 1 << 20
WEIGHTS, CONFIG = "model.safetensors", "config.json"
KNOWN, CONFORMAL = "known.", "conformal."  # what the names of their tensors begin with
T = TypeVar("T")


FORMER_NAMES = {"settle": "warmup"}  # of settings, in checkpoints that are about
NETWORK_KINDS: dict[str, tuple[type, Callable[[Any], nn.Module]]] = {
    "spiking-resnet": (ResNetConfig, SpikingResNet),
    "converted": (ConvertedConfig, ConvertedNetwork),
    "taught": (TaughtConfig, TaughtNetwork),
    "imported": (ImportedConfig, ImportedNetwork),
}
"""Kinds of network a checkpoint may hold: its configuration and what builds it."""


def load_plugins() -> None:
    """Networks of installed packages: shapes into NETWORKS, (configuration, class) into NETWORK_KINDS."""
    extend("networks", {ResNetConfig: NETWORKS, tuple: NETWORK_KINDS})


def _kind_of(network: nn.Module) -> str:
    load_plugins()
    for name, (config, _) in NETWORK_KINDS.items():
        if isinstance(getattr(network, "config", None), config):
            return name
    raise CheckpointError(f"{type(network).__name__} is not a kind of network that a checkpoint can hold")


def from_json(kind: type[T], data: Any, where: str = "config") -> T:
    """A dataclass from parsed JSON; unknown, missing and ill-typed fields are refused by name."""
    try:  # as JSON again: there a list may be a tuple, and nothing else is turned into another type
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join([where, *map(str, first["loc"])])[:200]
        raise CheckpointError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def save(folder: Path | str, network: nn.Module, card: Card) -> None:
    """Write the checkpoint. Both files are written beside their names, then renamed: whole, or not at all.

    Raises CheckpointError for a kind of network that none can hold, and labels that are not one a class; OSError where
    it cannot be written.
    """
    kind = _kind_of(network)
    _check_labels(card, network.config.classes)  # type: ignore[arg-type,union-attr]
    folder = Path(folder)
    document = {"format": FORMAT, "kind": kind, "network": asdict(network.config), "card": asdict(card.facts())}  # type: ignore[call-overload]
    with in_place_of(folder / WEIGHTS, folder / CONFIG) as (weights, config):
        save_file(_given(network, card), weights)
        document["sha256"] = sha256_of(weights)
        config.write_text(json.dumps(document, indent=1) + "\n")


@contextmanager
def in_place_of(*paths: Path) -> Iterator[list[Path]]:
    """Files to write in place of these of one folder, which are put there at the end; nothing is left of a failure.

    Raises OSError where they cannot be written.
    """
    folder = paths[0].parent
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    partial = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    try:
        yield partial
        for written, path in zip(partial, paths):
            written.replace(path)
    except BaseException as error:
        for path in partial:
            path.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, SafetensorError):  # what its writer makes of a full disk
            raise OSError(f"{folder} cannot be written: {error}") from error
        raise


def _check_labels(card: Card, classes: int) -> None:
    """Raise CheckpointError unless there is a label for each class."""
    if len(card.labels) != classes:
        raise CheckpointError(f"{len(card.labels)} labels for {classes} classes")


def _given(network: nn.Module, card: Card) -> dict[str, Tensor]:
    """The tensors of a checkpoint: weights, and what `known` and commitments are judged by."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    for prefix, judge in ((KNOWN, card.novelty), (CONFORMAL, card.conformal)):
        if judge is not None:
            tensors |= {prefix + n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in judge.state().items()}
    return tensors


def fingerprint(network: nn.Module, card: Card) -> str:
    """SHA-256 of all that a network's answers follow from, 64 hexadecimal digits: the same before and after saving."""
    digest = hashlib.sha256(json.dumps([asdict(card.contract), card.labels]).encode())
    for name, tensor in sorted(_given(network, card).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """A file's SHA-256, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, np.ndarray]:
    """Take the tensors whose names begin so out of a checkpoint's."""
    return {name.removeprefix(prefix): tensors.pop(name).numpy() for name in list(tensors) if name.startswith(prefix)}


def _conformal_of(tensors: dict[str, Tensor], contract: Contract) -> Conformal | None:
    """Take what commitments are judged by out of a checkpoint's tensors. Raises CheckpointError."""
    state = _taken(tensors, CONFORMAL)
    if not state:
        return None
    try:
        found = Conformal.from_state(state)
        wrong = [us for us, trials in found.trials.items() if len(trials.temperature) != contract.at(us / 1000).steps]
    except ValueError as error:
        raise CheckpointError(f"{WEIGHTS}: what commitments are judged by: {error}") from None
    if wrong:
        raise CheckpointError(f"{WEIGHTS}: commitments at {wrong[0] / 1000:g} ms are for windows of another length")
    return found


def _known_of(tensors: dict[str, Tensor], contract: Contract) -> NoveltyDetector | None:
    """Take what `known` is judged by out of a checkpoint's tensors. Raises CheckpointError."""
    state = _taken(tensors, KNOWN)
    if not state:
        return None
    try:
        known = NoveltyDetector.from_state(state)
        lengths = [(contract.horizon, known.longest)]
        for bin_us, lines in known.bins.items():
            lengths += [(contract.at(bin_us / 1000).horizon, len(lines[0].kept))]
    except ValueError as error:
        raise CheckpointError(f"{WEIGHTS}: what `known` is judged by: {error}") from None
    for horizon, longest in lengths:
        if longest != horizon:
            raise CheckpointError(f"{WEIGHTS}: `known` is for windows of {longest} steps, the read-out has {horizon}")
    return known


def read_config(folder: Path | str, *, signed: bool = False) -> tuple[str, Any, Card]:
    """The kind of network, its configuration and the card, no weights read; `signed`: their hash must be in it."""
    document = _document(folder)
    if signed and not document.get("sha256"):
        raise CheckpointError(
            f"{CONFIG} does not say the SHA-256 of its weights: save the model anew with this version"
        )
    return _read_document(document)


def _document(folder: Path | str) -> dict[str, Any]:
    """What config.json holds, with the fields that every checkpoint has. Raises CheckpointError."""
    path = Path(folder) / CONFIG
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{CONFIG} is no file")
        if found.st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{CONFIG} is larger than {MAX_CONFIG_BYTES} bytes")
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"no {CONFIG} in {Path(folder).name}: a checkpoint is a folder that has one") from None
    except OSError as error:
        raise CheckpointError(f"{CONFIG} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise CheckpointError(f"{CONFIG} is not JSON") from None
    if not isinstance(document, dict) or set(document) - {"sha256"} != {"format", "kind", "network", "card"}:
        raise CheckpointError(f"{CONFIG} must have exactly format, kind, network and card, and sha256 of its weights")
    if document["format"] != FORMAT:
        raise CheckpointError(f"{CONFIG} has format {document['format']!r}; this version reads {FORMAT}")
    return document


def _read_document(document: dict[str, Any]) -> tuple[str, Any, Card]:
    """The three parts of config.json, each checked."""
    if document["kind"] not in NETWORK_KINDS:
        load_plugins()
    if document["kind"] not in NETWORK_KINDS:
        raise CheckpointError(f"unknown kind of network; known: {', '.join(NETWORK_KINDS)}")
    network = document["network"]
    if isinstance(network, dict):
        network = {FORMER_NAMES.get(key, key): value for key, value in network.items()}
    config = from_json(NETWORK_KINDS[document["kind"]][0], network, "network")
    return document["kind"], config, Card(**vars(from_json(Facts, document["card"], "card")))


def _tensors(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """The weights' file, which must have this SHA-256; checkpoints of before have none. Raises CheckpointError."""
    try:
        if not path.is_file():
            raise CheckpointError(f"no {WEIGHTS} in {path.parent.name}: only safetensors weights are read")
        differs = sha256 is not None and sha256_of(path) != sha256
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
    """The network (in evaluation mode) and its card. Raises CheckpointError; reads safetensors only, never a pickle."""
    document = _document(folder)
    kind, config, card = _read_document(document)
    tensors = _tensors(Path(folder) / WEIGHTS, document.get("sha256"))
    try:
        network = NETWORK_KINDS[kind][1](config)
    except ValueError as error:
        raise CheckpointError(f"the network cannot be made: {error}") from None
    known, conformal = _known_of(tensors, card.contract), _conformal_of(tensors, card.contract)
    expected = network.state_dict()
    if set(tensors) != set(expected):
        raise CheckpointError(f"{WEIGHTS} does not hold the tensors of the network that {CONFIG} describes")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise CheckpointError(f"{WEIGHTS}: {name} has the wrong shape or type")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{WEIGHTS}: {name} has values that are not finite")
    network.load_state_dict(tensors)
    _check_labels(card, config.classes)
    return network.eval(), replace(card, novelty=known, conformal=conformal)
