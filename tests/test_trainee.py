"""A training pass: checkpointing and truncation in time, bfloat16, the firing rate; and the start of a network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from generated import small_config, write_nmnist
from torch import Tensor

from models.ann import ANNS
from models.checkpoint import Card, Contract, save
from models.neurons import RECTIFIER, Neuron
from models.resnet import NETWORKS, ResNetConfig, SpikingResNet
from training.config import TrainConfig
from training.data import load_data
from training.loop import Run, fit
from training.starting import build_network, load_teacher, neuron_config, start_from
from training.trainee import Trainee, frozen_statistics

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nmnist(tmp_path_factory.mktemp("trainee"))


def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1, 1), (4, 8), in_channels=2, classes=3))


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def gradients(config: TrainConfig, *, frozen: bool = True) -> tuple[Tensor, list[Tensor], SpikingResNet]:
    """Logits and gradients of one pass; with frozen norms, pieces in time compute what the whole does."""
    net = network()
    net.train()
    if frozen:
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    out = Trainee(net, config, CPU)(events(), {})
    (out.logits.square().mean() + 0.1 * out.firing_rate).backward()
    return out.logits.detach(), [p.grad for p in net.parameters() if p.grad is not None], net


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_checkpointing_over_time_computes_the_same(steps: int, penalty: float) -> None:
    logits, expected, _ = gradients(TrainConfig(spike_penalty=penalty))
    again, got, _ = gradients(TrainConfig(checkpoint_steps=steps, spike_penalty=penalty))
    torch.testing.assert_close(again, logits)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_recomputed_pass_counts_once_in_running_statistics() -> None:
    _, _, plain = gradients(TrainConfig(), frozen=False)
    _, _, recomputed = gradients(TrainConfig(checkpoint_steps=6), frozen=False)
    for name, tensor in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(dict(recomputed.named_buffers())[name], tensor)


def test_frozen_statistics_are_thawed_again() -> None:
    net = network()
    with pytest.raises(RuntimeError), frozen_statistics(net):
        raise RuntimeError
    assert all(m.momentum == 0.1 for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_the_firing_rate_is_the_mean_of_the_layers() -> None:
    net, seen = network().eval(), []
    for module in net.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: seen.append(float(spikes.detach().mean())))
    out = Trainee(net, TrainConfig(spike_penalty=0.1), CPU)(events(), {})
    assert float(out.firing_rate.detach()) == pytest.approx(sum(seen) / len(seen))
    assert float(Trainee(net, TrainConfig(), CPU)(events(), {}).firing_rate) == 0


def test_bfloat16_is_close_and_keeps_float32_weights_and_membranes() -> None:
    net = network().eval()
    with torch.no_grad():
        exact = Trainee(net, TrainConfig(), CPU)(events(), {})
        rough = Trainee(net, TrainConfig(precision="bf16"), CPU)(events(), {})
    assert rough.logits.dtype == torch.bfloat16
    assert all(v.dtype == torch.float32 for v in rough.state.values())
    assert (rough.logits.float() - exact.logits).abs().mean() < 0.3 * exact.logits.abs().mean() + 0.05


def test_a_price_on_spikes_lowers_the_rate(root: Path) -> None:
    rates = []
    for penalty in (0.0, 30.0):
        config = small_config(root, epochs=5, lr=0.01, spike_penalty=penalty, name=f"price-{penalty}")
        metrics = fit(config, root / "runs" / config.name)
        rates.append(sum(metrics["test"]["firing_rates"].values()))
    assert rates[1] < 0.7 * rates[0]


OPTIONS = {
    "truncated": {"truncate": 2},
    "checkpointed": {"checkpoint_steps": 2},
    "bf16": {"precision": "bf16", "channels_last": True},
    "mixed": {"mixup": 0.5, "event_mix": 0.5, "label_smoothing": 0.1},
    "fewer-steps": {"keep_steps": 2},
    "random-steps": {"random_steps": 1, "carry": 0.5},
    "mse_rate": {"loss": "mse_rate", "neuron": "if", "reset": "zero"},
    "ce_count": {"loss": "ce_count"},
    "mse_count": {"loss": "mse_count", "neuron": "plif"},
    "clif": {"neuron": "clif", "shear": 10.0, "flip": True},
    "psn": {"neuron": "psn", "loss": "mean", "carry": 0.5},
    "sgd-step": {"optimiser": "sgd", "schedule": "step", "lr": 0.05, "step_epochs": 1},
    "tensorboard": {"log_to": "tensorboard"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_an_epoch(name: str, root: Path) -> None:
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    config = small_config(root, epochs=1, name=f"option-{name}", **OPTIONS[name])
    metrics = fit(config, root / "runs" / config.name)
    assert metrics["test"]["count"] == 6
    assert (root / "runs" / config.name / "model" / "config.json").is_file()
    assert (root / "runs" / config.name / "tensorboard").is_dir() == (name == "tensorboard")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's own
def test_compiled_training_gives_the_same_losses(root: Path) -> None:
    losses = []
    for compiled in (False, True):
        run = Run(load_data(small_config(root, compile=compiled)), root / "runs" / "x")
        run.network.train()
        losses.append(run.train_batch(torch.arange(4).numpy())[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_truncation_sees_every_step_and_stops_gradients_between_pieces(root: Path) -> None:
    """With one piece it is plain training; with pieces the loss is the same (TET is a mean over steps)."""
    runs = [Run(load_data(small_config(root, truncate=t)), root / "runs" / "x") for t in (0, 3, 1)]
    values, norms = [], []
    for run in runs:
        for module in run.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        _, x_seq, targets, _ = run.batches.make(torch.arange(4).numpy(), 0)
        values.append(run._forward_backward(x_seq, targets, {})[0])
        norms.append(run.network.get_parameter("stem.0.weight").grad)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] == pytest.approx(values[2], rel=1e-5)
    torch.testing.assert_close(norms[0], norms[1])
    assert not torch.allclose(norms[0], norms[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["lif", "if", "plif", "clif", "psn"])
def test_every_kind_of_neuron_can_be_asked_for(kind: str) -> None:
    config = neuron_config(TrainConfig(neuron=kind, theta=0.5, surrogate="triangular", slope=2.0))  # type: ignore[arg-type]
    assert (config.theta, config.surrogate, config.slope) == (0.5, "triangular", 2.0)
    assert (config.beta == 1) == (kind == "if")
    assert config.learn_beta == (kind == "plif")


def test_weights_of_another_run_and_a_new_head(tmp_path: Path) -> None:
    config = TrainConfig(network="event-small")
    source = build_network(replace(config, seed=3), 5)
    contract = Contract("events", 2, 9, 9, 4, "binary", 9, 9, 1000)
    save(tmp_path / "m", source, Card(contract, tuple("abcde")))
    same, other = build_network(config, 5), build_network(config, 7)
    assert start_from(same, tmp_path / "m") == []
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), source.state_dict().values()))
    assert start_from(other, tmp_path / "m") == ["readout.weight", "readout.bias"]
    with pytest.raises(ValueError, match="another network"):
        start_from(build_network(replace(config, network="event-medium"), 5), tmp_path / "m")


def test_weights_of_an_ann_by_order(tmp_path: Path) -> None:
    torch.manual_seed(5)
    ann = ANNS["cifar-resnet20"].build(3, 10)
    torch.save(ann.state_dict(), tmp_path / "ann.pt")
    spiking = SpikingResNet(NETWORKS["cifar-resnet20"])
    assert start_from(spiking, tmp_path / "ann.pt") == []
    convolutions = [[m.weight for m in net.modules() if isinstance(m, torch.nn.Conv2d)] for net in (ann, spiking)]
    assert all(torch.equal(a, b) for a, b in zip(*convolutions))
    hundred = SpikingResNet(replace(NETWORKS["cifar-resnet20"], classes=100))
    assert start_from(hundred, tmp_path / "ann.pt") == ["readout"]
    with pytest.raises(ValueError, match="no ANN of this network's shape"):
        start_from(SpikingResNet(NETWORKS["cifar-resnet32"]), tmp_path / "ann.pt")


def test_a_teacher_of_either_kind(tmp_path: Path, root: Path) -> None:
    torch.save(ANNS["small-cnn"].build(2, 2).state_dict(), tmp_path / "ann.pt")
    config = small_config(root, epochs=1, name="taught", teacher=str(tmp_path / "ann.pt"))
    fit(config, root / "runs" / "taught")
    contract = load_data(config).contract
    x_seq = events(3)
    assert load_teacher(tmp_path / "ann.pt", contract, CPU)(x_seq).shape == (4, 2)
    assert load_teacher(root / "runs" / "taught" / "model", contract, CPU)(x_seq).shape == (4, 2)


def test_a_teacher_of_one_step_sees_the_mean_of_the_steps(tmp_path: Path) -> None:
    torch.manual_seed(2)
    ann = SpikingResNet(ResNetConfig("ms", (1,), (4,), classes=2, neuron=RECTIFIER)).eval()
    contract = Contract("events", 2, 9, 9, 1, "binary", sensor_width=9, sensor_height=9, bin_us=1000)
    save(tmp_path / "ann", ann, Card(contract, ("a", "b")))
    x_seq = events(3)
    with torch.no_grad():
        told = load_teacher(tmp_path / "ann", contract, CPU)(x_seq)
        assert torch.equal(told, ann(x_seq.mean(0, keepdim=True))[0][0])
