"""The audit of a conversion: dead, saturated and wrongly scaled layers are named."""

import pytest
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.audit import audit
from spikesight.models.networks.ann import CifarResNet
from spikesight.models.networks.converted.graph import ConversionError
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from tests.support.models import warmed


def test_audit_names_dead_and_saturated_layers(images: Tensor) -> None:
    ann = warmed(CifarResNet(1), images)
    network = convert(ann, [images], "ours", steps=16)
    report = audit(network, images, 64)
    assert report.rows[0].layer == "relu"
    assert not report.problems
    assert "relu" in report.table()
    layer = network.neurons()["layer1_0_relu1"]
    layer.theta.mul_(1000)
    layer.amplitude.mul_(1000)
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu1: .*silent"):
        audit(network, images, 64).raise_if_bad()
    layer.theta.mul_(1e-5)
    layer.amplitude.mul_(1e-5)
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu1: .*saturated"):
        audit(network, images, 64).raise_if_bad()


def test_audit_sees_a_wrong_scale_at_a_join(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "rueckauer-max")
    units = unit_spikes(network)
    assert not audit(units, images, 128, network).problems
    assert not audit(units, images, 128).problems
    scale = next(name for name in units.layers if name.endswith("_scale"))
    units.layers[scale].factor.mul_(3)  # type: ignore[operator, union-attr]
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu2: .*differ"):
        audit(units, images, 128, network).raise_if_bad()
