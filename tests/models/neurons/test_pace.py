"""Steps of another length: the trained rule at its own pace, its rates at every other."""

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.config import PAPER_LIF, PLIF, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import Neuron, at_pace, make_neuron
from spikesight.models.neurons.pace import pace, paced_step

IMMEDIATE = NeuronConfig(beta=0.75, theta=0.75, delay=False)


def paced(current: Tensor, steps: int, config: NeuronConfig, span: float) -> tuple[Tensor, Tensor]:
    """Share of steps with a spike, and the mean membrane, in a current that stays."""
    own = pace(config.beta, config.theta, span, delay=config.delay)
    w, spikes, membranes = torch.zeros_like(current), list[Tensor](), list[Tensor]()
    for _ in range(steps):
        membranes.append(w + current)
        s, w = paced_step(current, w, config, own)
        spikes.append(s)
    return torch.stack(spikes).mean(0), torch.stack(membranes).mean(0)


@pytest.mark.parametrize("config", [PAPER_LIF, IMMEDIATE])
@pytest.mark.parametrize("span", [1.0, 0.5, 1 / 31])
def test_current_membrane_and_rate_belong_together_at_every_pace(config: NeuronConfig, span: float) -> None:
    currents = torch.linspace(-0.5, 1.2, 50, dtype=torch.float64)
    rate, membrane = paced(currents, round(500 / span), config, span)
    taken = config.theta * (1.0 if config.delay else config.beta)  # from the membrane of the step after
    assert float(((1 - config.beta) * membrane - (currents - taken * rate)).abs().max()) < 0.01
    assert float(rate[0]) == 0
    assert float(rate[-1]) > 0.5


def test_what_is_left_of_a_membrane_after_a_trained_step_does_not_depend_on_the_pace() -> None:
    w = torch.tensor([0.5], dtype=torch.float64)
    for span in (1.0, 0.5, 0.1):
        rest, own = w, pace(0.5, 1.0, span, delay=True)
        for _ in range(round(1 / span)):
            _, rest = paced_step(torch.zeros_like(w), rest, PAPER_LIF, own)
        assert rest.item() == pytest.approx(0.25)


def test_the_twin_has_the_same_weights_and_watches_for_nobody() -> None:
    network = SpikingResNet(NETWORKS["event-small"])
    seen: list[object] = []

    def look(_: nn.Module, __: object, out: object = None) -> None:
        seen.append(out)

    network.stem.register_forward_hook(look)
    network.stem.register_forward_pre_hook(look)
    twin = at_pace(network, 0.1)
    twin(torch.ones(2, 1, 2, 16, 16))
    assert not seen
    ours, theirs = dict(network.named_parameters()), dict(twin.named_parameters())
    assert all(theirs[name] is tensor for name, tensor in ours.items())
    network(torch.ones(1, 1, 2, 16, 16))
    assert len(seen) == 2


@pytest.mark.parametrize("layer", [make_neuron(PLIF), make_neuron(SLIDING_PSN), SpikeLayer(SpikeRule(), 1)])
def test_neurons_without_another_pace_say_why(layer: Neuron) -> None:
    with pytest.raises(ValueError, match=r"reset to zero|no memory"):
        at_pace(layer, 0.5)
