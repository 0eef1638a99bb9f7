"""Convert a trained ANN into a spiking network: trace, fold batch norms, choose thresholds, calibrate, check.

    network = convert(ann, [images])                     # images [N, C, H, W] without labels
    logits, state = network(images[None], None, steps=32)

METHODS holds the published methods, each described by a record; `convert` runs any of them. Only unlabelled calibration
images are needed.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from spikesight.models.conversion import thresholds
from spikesight.models.conversion.calibrate import calibrate
from spikesight.models.conversion.methods import METHODS, Method, usual
from spikesight.models.conversion.trace import Traced, trace
from spikesight.models.networks.converted.graph import ConversionError, Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.neurons.state import evaluating

CALIBRATED = 128  # most images that calibration with real spikes uses, ...
CALIBRATED_VALUES = 1 << 28  # ... or fewer, so that no layer's spikes are more values than this (1 GB)
TOLERANCE = 1e-3  # largest difference between the folded graph's and the ANN's logits, relative to the largest logit


def graph_config(traced: Traced, sample: Tensor) -> ConvertedConfig:
    """Return the configuration of the graph, with channel and class counts measured on one sample [1, C, H, W]."""
    rule = SpikeRule()
    loose = [replace(n, shape=(1,)) if n.op == "neuron" else n for n in traced.nodes]
    network = ConvertedNetwork(ConvertedConfig(tuple(loose), rule, tuple(sample.shape[1:]), 1))
    channels: dict[str, int] = {}

    def note(node: Node, z: Tensor) -> Tensor:
        channels[node.name] = z.shape[1]
        return z

    logits = thresholds.run_as_ann(network, sample, note)
    if logits.ndim != 2:
        raise ConversionError(f"the network's output is {tuple(logits.shape)}: a classifier's is [batch, classes]")
    nodes = [replace(n, shape=(channels[n.name],)) if n.op == "neuron" else n for n in traced.nodes]
    return ConvertedConfig(tuple(nodes), rule, tuple(sample.shape[1:]), logits.shape[1])


def check_images(batches: Sequence[Tensor]) -> None:
    """Raise ConversionError if the calibration images are missing, ill-shaped or not finite."""
    if not batches or not sum(len(b) for b in batches):
        raise ConversionError("conversion needs calibration images: a few hundred, unlabelled, prepared as in training")
    for batch in batches:
        if not batch.is_floating_point() or batch.ndim not in (2, 4):
            raise ConversionError(
                f"calibration images must be float [N, C, H, W], not {batch.dtype} {tuple(batch.shape)}"
            )
        if batch.shape[1:] != batches[0].shape[1:]:
            raise ConversionError(f"calibration images differ in size: {batches[0].shape[1:]} and {batch.shape[1:]}")
        if not batch.isfinite().all():
            raise ConversionError("the calibration images have values that are not finite")


@torch.no_grad()
def build_network(ann: nn.Module, sample: Tensor, rule: SpikeRule, warmup: float = 0.0) -> ConvertedNetwork:
    """Return the ANN's graph with folded weights and neurons of `rule`, all thresholds 1. sample [N, C, H, W].

    With any rule it is the ANN, uncalibrated.
    """
    traced = trace(ann)
    config = replace(graph_config(traced, sample[:1]), rule=rule, warmup=warmup)
    network = ConvertedNetwork(config)
    for name, (weight, bias) in traced.weights.items():
        layer = network.layers[name]
        layer.weight.copy_(weight)  # type: ignore[operator, union-attr]
        layer.bias.copy_(bias)  # type: ignore[operator, union-attr]
    return network


@torch.no_grad()
def check_against(ann: nn.Module, network: ConvertedNetwork, sample: Tensor) -> None:
    """Raise ConversionError if the folded graph's logits differ from the ANN's (by a hidden in-place change, say)."""
    try:
        with evaluating(ann):
            expected = ann(sample)
    except RuntimeError as error:
        raise ConversionError(f"the ANN does not take these images: {str(error).splitlines()[0]}") from None
    difference = float((thresholds.run_as_ann(network, sample) - expected).abs().max())
    if difference > TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ConversionError(
            f"the traced network's logits differ from the ANN's by {difference:.3g}: an operation works in place on a "
            "value that is read again, or depends on its data"
        )


def set_thresholds(network: ConvertedNetwork, method: Method, batches: Sequence[Tensor], steps: int, seed: int) -> None:
    """Set all thresholds by the method's rule."""
    if method.threshold == "percentile":
        thresholds.by_percentile(network, batches, method.percent, method.channelwise)
    elif method.threshold == "ltb":
        thresholds.ltb(network, batches, method.passes)
    else:
        thresholds.spike_norm(network, batches, min(steps, 32), torch.Generator().manual_seed(seed))


def images_that_fit(network: ConvertedNetwork, sample: Tensor, steps: int) -> int:
    """Return how many images calibration with `steps` steps of real spikes may use; sample [1, C, H, W]."""
    sizes: list[int] = []

    def note(_: Node, z: Tensor) -> Tensor:
        sizes.append(z.numel())
        return z

    thresholds.run_as_ann(network, sample, note)
    return max(1, min(CALIBRATED, CALIBRATED_VALUES // (max(sizes, default=1) * steps)))


@torch.no_grad()
def convert(
    ann: nn.Module, batches: Sequence[Tensor], method: str | Method | None = None, *, steps: int = 32, seed: int = 0
) -> ConvertedNetwork:
    """Convert an ANN into a spiking network.

    batches: calibration images, float [N, C, H, W], prepared as for the ANN; steps: the T that thresholds and
    calibration aim at (at a much smaller T accuracy is low); method: a name, a Method, or None for `usual(steps)`.
    Raises ConversionError, which names the layer.
    """
    method = method or usual(steps)
    if isinstance(method, str):
        if method not in METHODS:
            raise ConversionError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
        method = METHODS[method]
    if steps < 1:
        raise ConversionError("steps must be positive")
    check_images(batches)
    batches = [batch for batch in batches if len(batch)]
    network = build_network(ann, batches[0], method.rule, method.warmup)
    check_against(ann, network, batches[0][:8])
    set_thresholds(network, method, batches, steps, seed)
    if method.repair or method.search or method.light:
        chosen = torch.cat(list(batches))[: images_that_fit(network, batches[0][:1], steps)]
        calibrate(network, chosen, steps, repair=method.repair, search=method.search, light=method.light)
    return network
