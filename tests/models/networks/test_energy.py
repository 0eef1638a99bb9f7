"""NeuroBench's definitions and the energy estimate."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.networks.ann import CifarResNet
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from spikesight.models.networks.energy import ann_energy, quantised_energy, spiking_energy
from spikesight.models.networks.metering import Meter, Report, Work, connection_sparsity, layer_operations, measure


def converted() -> tuple[ConvertedNetwork, torch.Tensor]:
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    ann = CifarResNet(1).train()
    with torch.no_grad():
        ann(images)
    return unit_spikes(convert(ann.eval(), [images], "half", steps=4)), images


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(4, 6, 3, 1, 0), nn.Linear(4, 6)])
def test_layer_operations_equal_brute_force(layer: nn.Conv2d | nn.Linear) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4) if isinstance(layer, nn.Linear) else (3, 4, 7, 5)
    x = (torch.rand(shape, generator=generator) < 0.4).float() * 2.5
    for zero in (False, True):
        if zero:
            layer.weight.data[0] = 0
        active, weight = (x != 0).float(), (layer.weight != 0).float()
        if isinstance(layer, nn.Linear):
            expected = float((active @ weight.T).sum())
        else:
            expected = float(
                nn.functional.conv2d(active, weight, None, layer.stride, layer.padding, 1, layer.groups).sum()
            )
        assert layer_operations(layer, x) == expected
    assert layer_operations(layer, x, dense=True) >= expected


def test_report_of_a_converted_network() -> None:
    network, images = converted()
    report = measure(network, images[None], still=True, steps=5)
    assert report.steps == 5
    assert report.parameters == sum(p.numel() for p in network.parameters())
    assert report.footprint_bytes >= 4 * report.parameters
    assert report.connection_sparsity == 0
    assert report.activation_sparsity == pytest.approx(1 - report.spike_rate)
    assert not report.by_layer["layers.conv1"][1]  # real-valued input: multiply-accumulates, once
    assert report.by_layer["layers.layer1_0_conv1"][1]  # spikes: accumulates
    assert report.by_layer["layers.conv1"][0] == layer_operations(network.layers["conv1"], images) / 4  # type: ignore[arg-type]
    assert report.work.effective_macs + report.work.effective_acs < report.work.dense
    meter = Meter(network)
    network(images[None], None, 5)
    total = float(meter.read().synops.sum()) / 4
    assert report.work.effective_macs + report.work.effective_acs == pytest.approx(total)
    assert report.spikes == float(meter.read().layer_spikes.sum()) / 4


def test_sparse_weights_are_seen() -> None:
    layer = nn.Conv2d(1, 4, 3, bias=False)
    layer.weight.data[:2] = 0
    assert connection_sparsity(nn.Sequential(layer)) == 0.5


def test_counts_equal_neurobench() -> None:
    """NeuroBench's own synaptic operations on the same inputs of each layer, and its idea of which are accumulates."""
    layers_module = pytest.importorskip("neurobench.metrics.utils.layers", exc_type=ImportError)
    network, images = converted()
    seen: list[tuple[str, nn.Module, torch.Tensor]] = []

    def keep(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda module, inputs: seen.append((name, module, inputs[0]))

    hooks = [
        module.register_forward_pre_hook(keep(name))
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    x_seq = images[None].expand(3, *images.shape)
    network(x_seq, None)
    for hook in hooks:  # NeuroBench calls the layers again
        hook.remove()
    theirs: dict[str, float] = {}
    spiking: dict[str, bool] = {}
    for name, module, x in seen:
        count, binary = layers_module.single_layer_MACs(x, module)
        theirs[name], spiking[name] = theirs.get(name, 0) + count / len(images), binary
    report = measure(network, x_seq)
    assert {name: count for name, (count, _) in report.by_layer.items()} == pytest.approx(theirs)
    assert {name: only for name, (_, only) in report.by_layer.items()} == spiking


@pytest.mark.parametrize(
    ("precision", "mac", "ac", "size"), [("fp32", 4.6, 0.9, 4), ("fp16", 1.5, 0.4, 2), ("int8", 0.23, 0.03, 1)]
)
def test_each_precision_has_its_costs(precision: str, mac: float, ac: float, size: int) -> None:
    report = Report(4, 0, 0, 0.0, 0.9, 0.1, 1e4, Work(1e6, 2e6, 0.0, 1e5), {})
    spiking, ann = spiking_energy(report, precision), ann_energy(3e6, 2e5, precision)
    assert spiking.compute == pytest.approx(mac + ac * 2.1)
    assert spiking.with_memory == pytest.approx(spiking.compute + 24.96 * size * 9.2)
    assert ann.compute == pytest.approx(3 * mac)
    assert ann.with_memory == pytest.approx(ann.compute + 24.96 * size * 9.4)
    few = quantised_energy(3e6, 2e5, 4)  # bits: products by their square, traffic in proportion
    assert few.compute == pytest.approx(ann_energy(3e6, 2e5, "int8").compute / 4)
    assert few.with_memory == pytest.approx(few.compute + 24.96 / 2 * 9.4)
