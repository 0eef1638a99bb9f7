"""SpikingJelly's residual networks by name: the same spikes as there, and what does not fit refused by its layer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.models.contract import Contract
from spikesight.models.export.importing import import_network
from spikesight.models.export.parity import ExportError, example_inputs

jelly = pytest.importorskip("spikingjelly.activation_based", reason="spikingjelly is not installed")
models = pytest.importorskip("spikingjelly.activation_based.model", reason="spikingjelly is not installed")
EVENTS = Contract("events", 2, 32, 32, 10, "count", sensor_width=32, sensor_height=32, bin_us=1000)


def theirs(kind: str, neuron: str, **options: Any) -> Any:
    """One of their networks on events, with batch norms that have seen something, so that every layer fires."""
    from spikingjelly.activation_based.model import sew_resnet, spiking_resnet

    torch.manual_seed(0)
    make = getattr(sew_resnet if kind.startswith("sew") else spiking_resnet, kind)
    network = make(spiking_neuron=getattr(jelly.neuron, neuron), num_classes=3, **options)
    network.conv1 = jelly.layer.Conv2d(2, 64, kernel_size=7, stride=2, padding=3, bias=False)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.02, 0.2)
        elif name.endswith("bias") and not name.startswith("fc"):
            tensor.uniform_(0.0, 0.5)
        elif name.endswith("sn1.w"):
            tensor.fill_(0.4)
    return network.eval()


@pytest.mark.parametrize(
    ("kind", "neuron", "options", "address"),
    [
        ("spiking_resnet18", "IFNode", {}, ""),
        ("sew_resnet18", "LIFNode", {"cnf": "ADD", "tau": 3.0}, "?cnf=ADD&neuron=LIFNode&tau=3.0"),
        (
            "spiking_resnet50",
            "ParametricLIFNode",
            {"decay_input": False, "v_reset": None},
            "?neuron=ParametricLIFNode&decay_input=0&v_reset=none",
        ),
    ],
)
def test_a_residual_network_spikes_as_there(
    kind: str, neuron: str, options: dict[str, Any], address: str, tmp_path: Path
) -> None:
    other = theirs(kind, neuron, **options)
    torch.save(other.state_dict(), tmp_path / "net.pth")
    network, parity = import_network(tmp_path / f"net.pth#{kind}{address}", EVENTS)
    assert parity.steps == 50
    assert parity.logits < 1e-3
    x_seq = example_inputs(EVENTS, 5, 1)
    with torch.no_grad():
        expected = torch.stack([other(x) for x in x_seq])
    assert float(expected.std(0).max()) > 1e-3, "something reaches the read-out"
    assert float((network(x_seq)[0] - expected).abs().max()) < 1e-2


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sew_resnet18?cnf=AND", "layer layer1.0 multiplies spikes .AND."),
        ("spiking_resnet34", "layer layer1.2.conv1 has no weight"),
        ("spiking_resnet18?neuron=ParametricLIFNode", "layer sn1 has no w"),
        ("spiking_resnet18?v_reset=0.5", "layer sn1: its v_reset is not 0"),
        ("spiking_resnet18?neuron=QIFNode", "neuron=QIFNode is no option of spiking_resnet18"),
        ("spiking_resnet18?tau=much", "tau=much is no option"),
        ("spiking_resnet18?colour=red", "colour=red is no option"),
        ("spiking_resnet18?kind=sew_resnet18", "kind=sew_resnet18 is no option"),
        ("spiking_resnet18?neuron=LIFNode&tau=0.5", "layer sn1: its tau of 0.5 is below 1"),
        ("spiking_vgg11", "'spiking_vgg11' is none of spiking_resnet18, "),
        ("", "'' is none of spiking_resnet18, "),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_name(address: str, words: str, weights: Path) -> None:
    with pytest.raises(ExportError, match=f"^not imported: .*(?:{words})"):
        import_network(Path(f"{weights}#{address}"), EVENTS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jelly") / "net.pth"
    torch.save(theirs("spiking_resnet18", "IFNode").state_dict(), path)
    return path
