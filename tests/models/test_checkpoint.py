"""Checkpoints and contracts: what is saved is loaded, and everything else is refused in one sentence."""

import json
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikesight.models.checkpoint import CONFIG, WEIGHTS, load, save, sha256_of
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, CheckpointError, Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from tests.support.models import EVENT_CONTRACT as EVENTS
from tests.support.models import IMAGE_CONTRACT as IMAGE
from tests.support.models import some_known
from tests.support.processes import in_fresh_process
from tests.support.refusals import refusal

CONTRACT = Contract("events", 2, 8, 9, 4, "binary", 16, 18, 10_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = SpikingResNet(ResNetConfig("ms", (1, 1), (4, 8), in_channels=2, classes=2))
    save(tmp_path / "m", network, Card(CONTRACT, ("a", "b"), {"seed": 0}, {"accuracy": 0.5}))
    return tmp_path / "m"


def edit(folder: Path, change: Any) -> None:
    document = json.loads((folder / CONFIG).read_text())
    change(document)
    (folder / CONFIG).write_text(json.dumps(document))


def taught(document: dict[str, Any], **more: int) -> dict[str, Any]:
    """Make it a taught network on this one, whose configuration is returned."""
    backbone = document["network"]
    document.update(kind="taught", network={"backbone": backbone, "height": 8, "width": 9, **more})
    return backbone


def seal(folder: Path) -> None:
    """Write the hash of the weights as they are now."""
    edit(folder, lambda d: d.update(sha256=sha256_of(folder / WEIGHTS)))


def test_a_network_whose_layers_share_a_state_is_not_saved(folder: Path) -> None:
    network, card = load(folder)
    for module in network.modules():
        if isinstance(module, Neuron):
            module.key = ""  # as layers are that nobody named
    refusal(lambda: save(folder.parent / "unnamed", network, card), "name_states", CheckpointError)


def test_saved_and_loaded_are_identical(folder: Path) -> None:
    network, card = load(folder)
    assert card == Card(CONTRACT, ("a", "b"), {"seed": 0}, {"accuracy": 0.5})
    save(folder.parent / "again", network, card)
    again, _ = load(folder.parent / "again")
    x = torch.rand(3, 1, 2, 8, 9)
    with torch.no_grad():
        assert torch.equal(network(x)[0], again(x)[0])
    assert sorted(p.name for p in folder.iterdir()) == [CONFIG, WEIGHTS]


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "b", "c")])
def test_labels_that_are_not_one_a_class_are_not_saved(tmp_path: Path, labels: tuple[str, ...]) -> None:
    network = SpikingResNet(ResNetConfig("ms", (1, 1), (4, 8), in_channels=2, classes=2))
    with pytest.raises(CheckpointError, match=f"{len(labels)} labels for 2 classes"):
        save(tmp_path / "m", network, Card(CONTRACT, labels))
    assert not (tmp_path / "m").exists()


@pytest.mark.attack(
    "model files", "pickle; huge header, wrong shapes, extra keys; config with path or code fields", "refused"
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format"),
        (lambda d: d.update(kind="os.system"), "kind of network"),
        (lambda d: d.update(extra=1), "exactly"),
        (lambda d: d["network"].update(code="import os"), "network.code: Unexpected"),
        (lambda d: d["network"].update(block="../../x"), "network.block: Input should be"),
        (lambda d: d["network"]["neuron"].update(kind="gru"), "unknown kind of neuron"),
        (lambda d: d["network"]["neuron"].update(theta=math.nan), "theta must be positive"),
        (lambda d: d["network"]["neuron"].update(theta=1e300), "cannot be made"),
        (lambda d: d["network"].update(widths=[8192, 8192]), "at most 1073741824 weights"),
        (lambda d: taught(d, height=10**9), "up to 2048"),
        (lambda d: taught(d)["neuron"].update(kind="relu"), "cannot be made"),
        (lambda d: d["network"].pop("block") and d["network"].update(depths="no"), "network.depths"),
        (lambda d: d["card"]["contract"].pop("steps"), "contract.steps: Field required"),
        (lambda d: d["card"]["contract"].update(steps="4"), "contract.steps: Input should be a valid integer"),
        (lambda d: d["card"]["contract"].update(height=10**9), "up to 2048"),
        (lambda d: d["card"]["contract"].update(input_us=10**18), "up to 10000 bins"),
        (lambda d: d["card"].update(labels=["a", "b", "c"]), "3 labels for 2 classes"),
    ],
)
def test_bad_configurations_are_refused_by_name(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    refusal(lambda: load(folder), message, CheckpointError)


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "readout.weight"
    for bad, message in [
        ({**tensors, "extra": torch.zeros(1)}, "does not hold the tensors"),
        ({**tensors, name: torch.zeros(3, 3)}, "wrong shape"),
        ({**tensors, name: tensors[name].double()}, "wrong shape or type"),
        ({**tensors, name: torch.full_like(tensors[name], float("nan"))}, "not finite"),
    ]:
        save_file(bad, folder / WEIGHTS)
        seal(folder)
        refusal(partial(load, folder), message, CheckpointError)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100, (1 << 62).to_bytes(8, "little") + b"{}"])
def test_files_that_are_not_safetensors_are_refused(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    seal(folder)
    refusal(lambda: load(folder), "not a safetensors file", CheckpointError)


def test_weights_that_were_not_saved_with_their_configuration_are_refused(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    one_bit = bytes([whole[-1] ^ 1])
    for damaged in (whole[:-1], whole + b"\0", whole[:-1] + one_bit, b""):
        (folder / WEIGHTS).write_bytes(damaged)
        refusal(partial(load, folder), r"model\.safetensors of m is damaged .* both files again", CheckpointError)
    (folder / WEIGHTS).write_bytes(whole)
    network, _ = load(folder)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    save(folder, network, Card(CONTRACT, ("a", "b")))
    load(folder)


def test_missing_and_broken_files_are_refused(folder: Path, tmp_path: Path) -> None:
    refusal(lambda: load(tmp_path / "nothing"), r"no config\.json", CheckpointError)
    whole = (folder / CONFIG).read_bytes()
    for text in ("[" * 100_000, "1" * 5000):
        (folder / CONFIG).write_text(text)
        refusal(partial(load, folder), "not JSON", CheckpointError)
    (folder / CONFIG).write_bytes(whole.ljust(2**20))  # a mebibyte is read
    load(folder)
    (folder / CONFIG).write_bytes(whole.ljust(2**20 + 1))
    refusal(lambda: load(folder), "larger", CheckpointError)


def test_what_known_is_judged_by_lies_beside_the_weights(folder: Path) -> None:
    network, card = load(folder)
    assert card.novelty is None, "saved without"
    known = some_known(network, CONTRACT)
    save(folder, network, replace(card, novelty=known))
    again = load(folder)[1].novelty
    assert again is not None
    for name, array in known.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    tensors = load_file(folder / WEIGHTS)
    shorter = {name: tensor[:, :3].clone() for name, tensor in tensors.items() if name.startswith("known.lines.")}
    for change, message in (
        (shorter, "windows of 3 steps"),
        ({"known.centres": tensors["known.centres"][:, :, :2].clone()}, "must be"),
        ({"known.more": torch.zeros(1)}, "must have"),
        ({"known.whiten": tensors["known.whiten"] * torch.nan}, "finite"),
        ({"known.whiten": tensors["known.whiten"].bfloat16()}, "not float32"),
        ({"known.whiten": torch.tensor(1.0)}, "three axes"),
    ):
        save_file(tensors | change, folder / WEIGHTS)
        seal(folder)
        refusal(partial(load, folder), message, CheckpointError)


def test_known_of_another_network_is_refused(folder: Path) -> None:
    network, card = load(folder)
    other = SpikingResNet(ResNetConfig("ms", (1, 1), (12, 8), in_channels=2, classes=2))
    with pytest.raises(CheckpointError, match="spikesight calibrate"):
        Classifier(network, replace(card, novelty=some_known(other, CONTRACT)))


FULL = """
import resource
from pathlib import Path
from spikesight.models.checkpoint import load, save
folder = Path({folder!r})
network, card = load(folder)
for size in (1000, {weights}):  # none of the two files, or the configuration alone
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
    for target in (folder, folder.parent / "new"):
        try:
            save(target, network, card)
        except OSError as error:
            print(type(error).__name__)
"""


def test_a_full_disk_leaves_a_checkpoint_as_it_was(folder: Path) -> None:
    edit(folder, lambda d: d["card"].update(training={"notes": "x" * 100_000}))
    sizes = [(folder / name).stat().st_size for name in (WEIGHTS, CONFIG)]
    assert sizes[0] < sizes[1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = in_fresh_process(FULL.format(folder=str(folder), weights=sizes[0]))
    assert said.split() == ["OSError"] * 4
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder], "nothing is begun"


def test_what_is_no_file_is_refused(folder: Path) -> None:
    for name, put in ((CONFIG, Path.mkdir), (CONFIG, os.mkfifo), (WEIGHTS, Path.mkdir), (WEIGHTS, os.mkfifo)):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        put(folder / name)
        refusal(partial(load, folder), name, CheckpointError)
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()
        (folder / name).write_bytes(kept)
    load(folder)


def test_files_are_on_the_disk_before_one_replaces_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut between the two leaves files of one save each, not half of one."""
    done: list[tuple[str, int]] = []
    flush, move = os.fsync, Path.replace

    def flushed(handle: int) -> None:
        done.append(("flush", os.fstat(handle).st_ino))
        flush(handle)

    def moved(path: Path, to: Path) -> Path:
        done.append(("move", path.stat().st_ino))
        return move(path, to)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", moved)
    save(folder, *load(folder))
    files = [(folder / name).stat().st_ino for name in (WEIGHTS, CONFIG)]
    assert done == [("flush", files[0]), ("flush", files[1]), ("move", files[0]), ("move", files[1]),
                    ("flush", folder.stat().st_ino)]  # fmt: skip


FINE = replace(EVENTS, shortest_bin_us=1_000, readout=2)


@pytest.mark.parametrize(
    ("contract", "wrong", "says"),
    [
        (EVENTS, {"kind": "video"}, "kind must be"),
        (EVENTS, {"channels": 3}, "needs 2 channels"),
        (IMAGE, {"mean": (0.5,)}, "one entry a channel"),
        (IMAGE, {"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "one entry a channel"),
        (IMAGE, {"std": (0.25, 0.25, 0.0)}, "std positive"),
        (IMAGE, {"std": (0.25, math.nan, 0.5)}, "std positive"),
        (IMAGE, {"mean": (0.25, math.inf, 0.5)}, "all finite"),
        (IMAGE, {"frame": "object"}, "object' of events"),
        (EVENTS, {"frame": "camera"}, "frame must be"),
        (IMAGE, {"pooled": True}, "pooled is for events"),
        (IMAGE, {"task": "detection"}, "task must be"),
        (EVENTS, {"shortest_bin_us": 5, "encoding": "count"}, "binary events"),
        (EVENTS, {"input_us": 10_000}, "input_us"),
        (EVENTS, {"input_us": -1}, "input_us"),
    ],
)
def test_what_contradicts_itself_is_refused(contract: Contract, wrong: dict[str, Any], says: str) -> None:
    refusal(lambda: replace(contract, **wrong), says)


def test_a_shorter_bin_is_as_long_a_window_in_more_steps() -> None:
    fine = FINE.at(1)
    assert (fine.bin_us, fine.steps, fine.readout, fine.input_us, fine.shown_bins) == (1_000, 40, 20, 10_000, 10)
    assert (fine.horizon, FINE.horizon, EVENTS.horizon) == (20, 2, EVENTS.steps)
    assert (fine.trained_us, fine.bins_us) == (10_000, (1_000, 10_000))
    assert fine.at(10) == FINE, "and back"
    assert FINE.at(4).steps == 10
    assert FINE.at(10) is FINE
    assert EVENTS.at(10.0) is EVENTS
    odd = replace(FINE, bin_us=10_500)
    assert odd.at(1).at(10.5) == odd, "the trained bin is no whole millisecond"


@pytest.mark.parametrize("bin_ms", [0, -1, 0.5, 0.999, 2.5, 11, 1e9, 1e300, math.inf, math.nan])
def test_bins_that_the_weights_do_not_run_at(bin_ms: float) -> None:
    refusal(lambda: FINE.at(bin_ms), "bin_ms must be whole milliseconds from 1 to 10 for this model")
    refusal(lambda: EVENTS.at(bin_ms), "bin_ms must be 10 for this model")
    refusal(lambda: IMAGE.at(bin_ms), "takes images")
