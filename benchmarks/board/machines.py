"""Methods of the five-fold cross-validation on N-MNIST: each learns from binned windows and classifies others.

Our networks are trained by the loop of `train-dvs`. SpikingJelly's and snnTorch's neurons sit in the same network and
are trained by their documented recipes: Adam at 0.001 with a cosine and the squared error of mean outputs
(SpikingJelly's DVS Gesture example); Adam at 0.02 and target spike counts of 80 and 20 % (snnTorch's tutorial on
N-MNIST). Nothing was tuned on these folds, and the last epoch counts. Methods called fast use the learning rate of
`train-dvs`, which equals snnTorch's; it was chosen on emulated digits after snnTorch's row was seen. The other methods
of ours use the earlier rate, a tenth of it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.board.figures import work
from benchmarks.board.recordings import CONTRACT, LABELS
from benchmarks.compare.ann import train_alone
from spikesight.models.contract import Contract
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.config import PRESETS
from spikesight.models.neurons.layers import Neuron
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, Frames
from spikesight.training.resolve import SCRATCH_LR
from spikesight.training.run.baselines import log_counts, predictions
from spikesight.training.run.loop import Run

EPOCHS, BATCH = 30, 32
Found = tuple[NDArray[np.int64], dict[str, Any]]  # classes of the test windows, and the costs of one answer


def network(neuron: str) -> SpikingResNet:
    """Build the first two stages of `event-small` with a classifier for ten classes."""
    shape = NETWORKS["event-small"]
    return SpikingResNet(replace(shape, depths=(1, 1), widths=(16, 32), classes=10, neuron=PRESETS[neuron]))


def machine(name: str, learnt: Frames, asked: Frames, seed: int) -> Found:  # noqa: ARG001
    """Train and test a kernel machine on log counts; it uses no seed."""
    counts = [log_counts(np.asarray(part.frames)) for part in (learnt, asked)]
    return predictions(counts[0], learnt.labels, counts[1])[name], {}


def ours(neuron: str, learnt: Frames, asked: Frames, seed: int, *, one_frame: bool = False, lr: float = 0.002) -> Found:
    """Train and test our network by the loop of `train-dvs`; `one_frame` counts the events of all steps in one."""
    contract: Contract = CONTRACT
    if one_frame:
        contract = replace(CONTRACT, steps=1, encoding="count", bin_us=CONTRACT.steps * CONTRACT.bin_us)
        learnt, asked = (
            replace(f, frames=np.asarray(f.frames).sum(1, keepdims=True, dtype=np.uint8)) for f in (learnt, asked)
        )
    torch.manual_seed(seed)
    config = TrainConfig(
        steps=contract.steps, bin_us=contract.bin_us, height=17, width=17, encoding=contract.encoding, neuron=neuron,
        epochs=EPOCHS, batch_size=BATCH, lr=lr, carry=0.0, shift=1, rotate=10.0, scale=0.0, drop=0.2, seed=seed,
        device="cpu",
    )  # fmt: skip
    data = Data(
        train=learnt, val=asked, test=asked, labels=LABELS, contract=contract, split={}, recorded=len(learnt),
        config=config,
    )  # fmt: skip
    run = Run(data, Path(), network=network(neuron))
    list(train_alone(run))
    return answered(run.network, asked)


def answered(net: nn.Module, asked: Frames) -> Found:
    """Classify each window from zero state; return the classes and the costs of one answer."""
    x_seq = torch.from_numpy(np.asarray(asked.frames)).transpose(0, 1).float()
    net.eval()
    with torch.no_grad():
        logits = net(x_seq)[0]
    return logits.mean(0).argmax(1).numpy(), work(net, x_seq)


def with_nodes(make: Callable[[], nn.Module]) -> SpikingResNet:
    """Build the same network with another library's neuron layers."""
    net = network("lif")
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, Neuron):
                setattr(module, name, make())
    return net


def fit(net: nn.Module, learnt: Frames, seed: int, optimiser: torch.optim.Optimizer, loss: Any, cosine: bool) -> None:
    """Train for EPOCHS with random shifts of a batch by up to one pixel; what else ours has (turns, dropped events)
    costs snnTorch's row 8 points.
    """
    random = np.random.default_rng(seed)
    steps = EPOCHS * (len(learnt) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps) if cosine else None
    net.train()
    for _ in range(EPOCHS):
        for rows in np.array_split(random.permutation(len(learnt)), len(learnt) // BATCH):
            dy, dx = random.integers(-1, 2, 2)
            moved = np.roll(np.asarray(learnt.frames[np.sort(rows)]), (dy, dx), (3, 4))
            x_seq = torch.from_numpy(moved).transpose(0, 1).float()
            optimiser.zero_grad()
            loss(net(x_seq)[0], torch.from_numpy(learnt.labels[np.sort(rows)])).backward()
            optimiser.step()
            if schedule is not None:
                schedule.step()


def spikingjelly(learnt: Frames, asked: Frames, seed: int) -> Found:
    from spikingjelly.activation_based import functional, neuron, surrogate

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m")

        def forward(self, x_seq: Tensor, _: object) -> Tensor:
            functional.reset_net(self.node)
            return self.node(x_seq)

    def squared(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(logits.mean(0), nn.functional.one_hot(labels, 10).float())

    torch.manual_seed(seed)
    net = with_nodes(Layer)
    fit(net, learnt, seed, torch.optim.Adam(net.parameters(), 1e-3), squared, cosine=True)
    return answered(net, asked)


def snntorch(learnt: Frames, asked: Frames, seed: int) -> Found:
    import snntorch as snn
    from snntorch import functional, surrogate

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = snn.Leaky(beta=0.5, spike_grad=surrogate.atan())

        def forward(self, x_seq: Tensor, _: object = None) -> Tensor:
            membrane, spikes = self.node.init_leaky(), []
            for x in x_seq:
                spike, membrane = self.node(x, membrane)
                spikes.append(spike)
            return torch.stack(spikes)

    class Spiking(nn.Module):
        """The network with an output layer of spiking neurons."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = with_nodes(Layer), Layer()

        def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
            return self.last(self.body(x_seq)[0]), {}

    torch.manual_seed(seed)
    loss: Any = functional.mse_count_loss  # its type hints wrongly demand integer rates
    net, count = Spiking(), loss(correct_rate=0.8, incorrect_rate=0.2)
    fit(net, learnt, seed, torch.optim.Adam(net.parameters(), 2e-2, (0.9, 0.999)), count, cosine=False)
    return answered(net, asked)


METHODS: dict[str, Callable[[Frames, Frames, int], Found]] = {
    "ridge": lambda *given: machine("ridge on log counts", *given),
    "rbf": lambda *given: machine("RBF kernel on log counts", *given),
    "spiking": lambda *given: ours("lif", *given),
    "spiking-fast": lambda *given: ours("lif", *given, lr=SCRATCH_LR),
    "plif": lambda *given: ours("plif", *given),
    "ann-frame": lambda *given: ours("relu", *given, one_frame=True),
    "ann-frame-fast": lambda *given: ours("relu", *given, one_frame=True, lr=SCRATCH_LR),
    "ann-frames": lambda *given: ours("relu", *given),
    "spikingjelly": spikingjelly,
    "snntorch": snntorch,
}
