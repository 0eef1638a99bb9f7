"""Settings as flags and files, the networks that they make, and several processes."""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.config import RECTIFIER
from spikesight.models.neurons.layers import spikes_at_all
from spikesight.models.shipped import START, find, shipped
from spikesight.models.teach.few_shot import backbone
from spikesight.training.config import UNSET, TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.start import network_name, weights_path, with_network, with_schedule
from spikesight.training.distributed import ProcessGroup, SyncNorm, join_processes, synchronise_norms
from spikesight.training.flags import RECIPES, SETTINGS, add_settings, from_mapping, resolve, resumed, to_yaml
from spikesight.training.network import build_network, load_teacher, neuron_config, start_from
from spikesight.training.run.fit import fit
from spikesight.training.run.loop import Run, learning_rate
from tests.support.inputs.data_sets import small_config, write_nmnist, write_takes
from tests.support.refusals import refusal


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    add_settings(parser)
    return parser.parse_args(words)


def from_file(tmp_path: Path, text: str, *words: str) -> TrainConfig:
    (tmp_path / "s.yaml").write_text(text)
    return resolve(parse("--config", str(tmp_path / "s.yaml"), *words))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"crop": "object", "encoding": "count"}, "--crop object is for binary recordings"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"batch_size": 0}, "batch_size must be positive"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], says: str) -> None:
    refusal(lambda: TrainConfig(**values), says)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    config = from_file(tmp_path, "lr: 0.5\nepochs: 7\nflip: true\n", "--epochs", "9", "--no-flip")
    assert config == TrainConfig(lr=0.5, epochs=9, flip=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rte: 1\n", r"s\.yaml: unknown setting 'learning_rte'"),
        ("batchsize: 3\n", "did you mean batch_size"),
        ("epochs: 1.5\n", "epochs must be of type int"),
        ("flip: 1\n", "flip must be of type bool"),
        ("data: 3\n", "data must be of type str"),
        ("schedule: sine\n", "schedule must be one of cosine, step, constant"),
        ("lr: [1\n", r"s\.yaml is not YAML"),
        ("3\n", r"s\.yaml must hold"),
    ],
)
def test_a_file_that_is_refused(tmp_path: Path, text: str, says: str) -> None:
    refusal(lambda: from_file(tmp_path, text), says)


def test_yaml_round_trip_and_whole_numbers_as_floats() -> None:
    config = TrainConfig(lr=0.125, data="somewhere", flip=True)
    assert from_mapping(TrainConfig(), yaml.safe_load(to_yaml(config)), "here") == config
    assert from_mapping(TrainConfig(), {"lr": 1}, "here").lr == 1.0


def test_a_recipe_by_name_and_every_recipe_is_valid() -> None:
    recipes = sorted(RECIPES.rglob("*.yaml"))
    assert len(recipes) >= 3
    for path in recipes:
        assert resolve(parse("--config", str(path))) == resolve(parse("--config", path.stem))
        assert network_name(resolve(parse("--config", str(path)))) in NETWORKS
    refusal(lambda: resolve(parse("--config", "nowhere")), r"known by name are .*modern_imagenet")


def test_the_papers_recipe_is_the_papers() -> None:
    """Section 3.2: SGD, batch 32, 0.00125 times 0.1 each 30 epochs, 90 epochs, cross-entropy, 224 crops, arctan."""
    c = resolve(parse("--config", "seed_imagenet"))
    assert (c.optimiser, c.batch_size, c.epochs, c.loss, c.surrogate) == ("sgd", 32, 90, "mean", "arctan")
    assert (c.height, c.width, c.steps) == (224, 224, 5)
    rates = [learning_rate(c, epoch * 10, 10) for epoch in (0, 29, 30, 59, 60, 89)]
    assert rates == pytest.approx([1.25e-3, 1.25e-3, 1.25e-4, 1.25e-4, 1.25e-5, 1.25e-5])
    assert NETWORKS[c.network].pool == "max"


def test_going_on_keeps_what_is_computed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(TrainConfig(lr=0.25)))
    assert resumed(tmp_path, parse("--device", "cpu")) == TrainConfig(lr=0.25, device="cpu")
    refusal(lambda: resumed(tmp_path, parse("--batch-size", "8")), "--batch-size cannot change")


def test_what_is_unset_is_none_and_its_help_says_what_happens() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    said = parser.format_help()
    assert "(default None)" not in said
    for name, setting in SETTINGS.items():
        if setting.default is None:
            assert from_mapping(TrainConfig(), {name: None}, "here") == TrainConfig()
        else:
            with pytest.raises(ValueError, match=f"{name} must be of type"):
                from_mapping(TrainConfig(), {name: None}, "here")


CPU = torch.device("cpu")


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


@pytest.mark.parametrize("kind", ["lif", "if", "plif", "clif", "psn"])
def test_every_kind_of_neuron_is_made_as_it_was_asked_for(kind: str) -> None:
    config = neuron_config(TrainConfig(neuron=kind, theta=0.5, surrogate="triangular:2", beta=0.8))
    assert (config.theta, config.surrogate, config.slope) == (0.5, "triangular", 2.0)
    assert (config.beta == 0.8) == (kind not in ("if", "psn"))
    assert config.learn_beta == (kind == "plif")
    assert neuron_config(TrainConfig(neuron="lif", learn_beta=True)).learn_beta


def test_weights_of_another_run_and_a_new_head(tmp_path: Path) -> None:
    config = TrainConfig(network="event-small")
    source = build_network(replace(config, seed=3), 5)
    contract = Contract("events", 2, 9, 9, 4, "binary", 9, 9, 1000)
    save(tmp_path / "m", source, Card(contract, tuple("abcde")))
    for labels in (tuple("abcde"), ()):
        same = build_network(config, 5)
        assert start_from(same, tmp_path / "m", labels) == []
        assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), source.state_dict().values()))
    for classes, labels in ((7, ()), (5, tuple("fghij"))):
        other = build_network(config, classes)
        assert start_from(other, tmp_path / "m", labels) == ["readout.weight", "readout.bias"]
        assert not torch.equal(other.readout.weight[:5], source.readout.weight)
    for neuron in ("relu", "if"):
        twin = build_network(replace(config, neuron=neuron), 5)  # type: ignore[arg-type]
        assert start_from(twin, tmp_path / "m", tuple("abcde")) == [], "of other neurons"
        assert spikes_at_all(twin) == (neuron == "if")
    larger = build_network(replace(config, network="event-medium"), 5)
    refusal(lambda: start_from(larger, tmp_path / "m"), "another network than the one to train")


def test_a_model_with_a_head_gives_its_backbone(tmp_path: Path) -> None:
    config = TrainConfig(network="event-small")
    source, new = build_network(replace(config, seed=3), 5), build_network(config, 7)
    taught = TaughtNetwork(TaughtConfig(source.config, 3, 4, height=9, width=9))
    taught.backbone.load_state_dict(source.state_dict())
    save(tmp_path / "m", taught, Card(Contract("events", 2, 9, 9, 4, "binary", 9, 9, 1000, readout=1), tuple("abc")))
    assert start_from(new, tmp_path / "m") == ["readout.weight", "readout.bias"]
    assert torch.equal(new.state_dict()["stem.0.weight"], source.state_dict()["stem.0.weight"])
    assert torch.equal(backbone(str(tmp_path / "m")).readout.weight, source.readout.weight)


@pytest.mark.parametrize("steps", [1, 6])
def test_a_teacher_answers_by_its_mean_logits_and_one_of_one_step_sees_the_mean(steps: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    neuron = {"neuron": RECTIFIER} if steps == 1 else {}
    network = SpikingResNet(ResNetConfig("ms", (1,), (4,), classes=2, **neuron)).eval()  # type: ignore[arg-type]
    contract = Contract("events", 2, 9, 9, steps, "binary", sensor_width=9, sensor_height=9, bin_us=1000)
    save(tmp_path / "m", network, Card(contract, ("a", "b")))
    x_seq = events()
    with torch.no_grad():
        answer = load_teacher(tmp_path / "m", contract, CPU)(x_seq)
        fed = x_seq if steps > 1 else x_seq.mean(0, keepdim=True)
        torch.testing.assert_close(answer, network(fed)[0].mean(0))


def test_a_shipped_name_is_the_shipped_model_whatever_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `export --format c` and the data set of that name make a folder "nmnist"."""
    assert weights_path("nowhere") == Path("nowhere")
    monkeypatch.chdir(tmp_path)
    Path("nmnist").mkdir()
    for name, folder in shipped().items():
        assert weights_path(name) == find(name) == folder
    Path("motions").mkdir()
    assert with_network(TrainConfig(), own=True, images=False).network == "event-medium"
    assert weights_path("./nmnist") == Path("nmnist"), "what lies here is given as a path"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("own"), ["a/cup.npz", "b/cup.npz", "a/pen.npz", "b/pen.npz"], 4)


def own(folder: Path, **settings: Any) -> TrainConfig:
    return TrainConfig(data=str(folder), cache=str(folder.parent / f"{folder.name}-cache"), device="cpu", **settings)


@pytest.mark.parametrize("name", ["nmnist", "motions"])
def test_a_model_to_start_from_brings_its_network_and_its_contract(folder: Path, name: str) -> None:
    network, card = load(shipped()[name])
    run = Run(load_data(own(folder, init_from=name)), folder / "runs")
    assert replace(run.network.config, classes=len(card.labels)) == replace(network.config, read="mean")  # type: ignore[arg-type]
    ours, theirs = run.data.contract, card.contract
    for what in ("steps", "bin_us", "height", "width", "encoding", "filter_us"):
        assert getattr(ours, what) == getattr(theirs, what), what
    given, taken = network.state_dict(), run.network.state_dict()
    assert all(torch.equal(given[key], taken[key]) for key in given if not key.startswith("readout"))


def test_what_was_asked_for_stays_when_a_model_is_brought() -> None:
    plain = with_network(TrainConfig(init_from="motions"), own=True, images=False)
    asked = with_network(TrainConfig(init_from="motions", beta=0.7, steps=5, window_ms=200), own=True, images=False)
    assert (asked.beta, asked.steps, asked.network) == (0.7, 5, plain.network)
    cropped = with_network(TrainConfig(init_from="motions", crop="object"), own=True, images=False)
    assert cropped.height is cropped.width is None, "a crop has its own size"
    named = with_network(TrainConfig(init_from="motions", network="event-small"), own=True, images=False)
    assert named == TrainConfig(init_from="motions", network="event-small")
    pictures = with_network(TrainConfig(init_from="motions"), own=False, images=True)
    assert (pictures.bin_us, pictures.encoding, pictures.network) == (None, None, plain.network)


def test_own_recordings_start_from_a_shipped_network_unless_said_otherwise(folder: Path) -> None:
    start = load_data(own(folder)).config.init_from
    assert start == START
    for settings in ({"network": "event-medium"}, {"beta": 0.9}, {"loss": "mean"}):
        assert with_network(own(folder, **settings), own=True, images=False).init_from is None, settings
    assert with_network(own(folder, init_from="motions"), own=True, images=False).init_from == "motions"
    assert with_network(TrainConfig(), own=False, images=False).init_from is None, "a data set by name"


def test_few_samples_get_as_many_steps_as_more_and_each_as_often(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, more, many = (with_schedule(TrainConfig(), count, 34, own=True) for count in (20, 200, 200_000))
    assert few.epochs * few.epoch_steps == more.epochs * more.epoch_steps > 10 * 200 / more.batch_size
    assert many.epoch_steps == 200_000 // many.batch_size, "one pass"
    assert with_schedule(TrainConfig(), 20, 34, own=False).epoch_steps is None
    run, seen = Run(load_data(own(folder, network="event-medium")), folder / "runs"), Counter[int]()
    monkeypatch.setattr(run, "train_batch", lambda rows, _: (seen.update(rows.tolist()), (0.0, 0))[1])
    run.train_epoch()
    assert run.progress.seen == run.steps_an_epoch * run.config.batch_size > 2 * len(run.data.train)
    assert set(seen) == set(range(len(run.data.train)))
    assert np.ptp(list(seen.values())) <= 1


def test_from_random_weights_the_rate_is_higher_but_for_named_images_unless_one_is_given() -> None:
    for own, images in ((True, False), (False, False), (True, True)):
        configs = (TrainConfig(init_from=model) for model in (UNSET, "nmnist"))
        scratch, start = (with_schedule(config, 500, 34, own=own, images=images).lr for config in configs)
        assert scratch > start == with_schedule(TrainConfig(), 500, 34, own=False, images=True).lr > 0
        assert with_schedule(TrainConfig(lr=0.1), 500, 34, own=own, images=images).lr == 0.1


PATIENCE_S = 1200  # two processes that import PyTorch and train, on a machine that is busy with other tests
OURS_ALONE = ("GLOO_", "GROUP_", "LOCAL_", "MASTER_", "OMP_", "RANK", "ROLE_", "TORCHELASTIC_", "WORLD_")


def trained_by_two(root: Path, config: TrainConfig) -> str:
    """What `train-dvs` says in two processes."""
    (root / f"{config.name}.yaml").write_text(to_yaml(config))
    command = [*TORCHRUN, str(Path(sys.executable).with_name("train-dvs")), "--config", f"{config.name}.yaml"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS_ALONE)}
    env |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
    "--rdzv-endpoint", "127.0.0.1:0", "--rdzv-conf", "read_timeout=600", "--no-python",
    "--local-addr", "127.0.0.1",  # else the machine's name, which need not resolve
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_synchronised_norms_keep_names_tensors_and_single_process_results() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 6, 6)
    names, expected = list(net.state_dict()), net(x)
    synchronise_norms(net)
    assert isinstance(net[1], SyncNorm)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net(x), expected)


def test_each_process_has_its_share_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, x = torch.device("cpu"), torch.arange(8.0).view(2, 4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="--batch-size 5 must be a multiple of the 2 processes"):
        join_processes(TrainConfig(batch_size=5), cpu)
    processes = ProcessGroup(cpu, 1, 2)
    assert not processes.main
    assert processes.share(x).tolist() == [[4, 5, 6, 7]]
    assert processes.share(x, 1).tolist() == [[2, 3], [6, 7]]
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = join_processes(TrainConfig(batch_size=5), cpu)
    assert alone.main
    assert torch.equal(alone.share(x), x)


@pytest.mark.parametrize("head", [False, True])
def test_two_processes_compute_what_one_does(tmp_path: Path, head: bool) -> None:
    root = write_nmnist(tmp_path)
    # SGD: Adam makes a full-size step of a gradient that is zero but for rounding.
    options: dict[str, object] = {"epochs": 2, "ema": 0.9, "lr": 0.05, "optimiser": "sgd", "carry": 0.0}
    if head:
        options |= {"data": str(root / "Train"), "init_from": "things", "network": "event-medium", "epoch_steps": 4}
    fit(small_config(root, name="one", **options), root / "runs" / "one")
    said = trained_by_two(root, small_config(root, name="two", **options))
    assert said.count("test accuracy") == 1
    for ours, theirs in zip(rows(root / "runs" / "one"), rows(root / "runs" / "two")):
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "synops"):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-5), name
    weights = [load_file(root / "runs" / name / "checkpoints" / "last.safetensors") for name in ("one", "two")]
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    one, two = (json.loads((root / "runs" / name / "result.json").read_text()) for name in ("one", "two"))
    assert two["test"]["accuracy"] == one["test"]["accuracy"]
