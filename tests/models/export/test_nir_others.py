"""Other simulators read our graphs by themselves, where every neuron is one node (`reset: zero`, `delay: false`)."""

from pathlib import Path

import pytest
import torch

from spikesight.models.export.formats import export
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.neurons.config import NeuronConfig
from tests.support.exporting import CARD
from tests.support.models import lively

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikesight[export]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


@pytest.fixture
def exported(tmp_path: Path):
    """A network, its graph, and bins for it."""
    neuron = NeuronConfig(reset="zero", delay=False)
    network = lively(ResNetConfig("plain", (1,), (4,), pool="none", classes=3, neuron=neuron))
    export(network, CARD, "nir", tmp_path / "model.nir")
    x_seq = (torch.rand(12, 2, 2, CARD.contract.height, CARD.contract.width) < 0.3).float()
    return network, nir.read(tmp_path / "model.nir"), x_seq


def test_spikingjelly_spikes_as_we_do(exported) -> None:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    network, graph, x_seq = exported
    theirs, state = import_from_nir(graph, dt=0.01), None
    spikes: list[torch.Tensor] = []
    theirs.get_submodule("neuron").register_forward_hook(lambda _m, _i, out: spikes.append(out[0]))
    logits = []
    with torch.no_grad():
        for x in x_seq:
            answer, state = theirs(x, state)
            logits.append(answer)
        ours, _ = network(x_seq)
        first = network.neuron(network.stem(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2]), {})
    assert torch.equal(torch.stack(spikes), first)
    assert 0.01 < first.mean() < 0.99
    assert (torch.stack(logits) - ours).abs().max() < 1e-4
