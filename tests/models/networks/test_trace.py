"""A trace says what every neuron did: the same as the service counts, whoever else uses the network."""

import numpy as np
import torch

import spikesight
from spikesight.encoders.events import make_events
from spikesight.models.classifier import Classifier
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.neurons.probe import threshold_of
from tests.support.models import tiny

SIZE = (24, 32)
EVENTS = make_events(np.arange(0, 60_000, 40), np.arange(1500) % 24, np.arange(1500) // 7 % 32, np.arange(1500) % 2)


def model(classifier: Classifier) -> spikesight.Model:
    return spikesight.Model(classifier)


def test_spikes_are_those_that_predictions_count_and_membranes_those_between_steps() -> None:
    network = model(tiny())
    steps, trace = network.steps(EVENTS, SIZE), network.trace(EVENTS, SIZE)
    assert len(steps) > 2
    fired = sum(np.count_nonzero(layer.spikes.reshape(len(steps), -1), 1) for layer in trace.layers.values())
    assert np.array_equal(fired, [step.spikes for step in steps])
    assert np.allclose(trace.probabilities, [step.probabilities for step in steps])
    assert trace.inputs.shape == (len(steps), *network.classifier.contract.shape)
    assert all(layer.membranes.shape == layer.spikes.shape for layer in trace.layers.values())
    assert list(trace.layers) == list(network.classifier.layer_names)


def test_a_converted_neuron_fires_at_its_threshold_in_the_unit_of_its_membranes() -> None:
    for rule in (SpikeRule(v0=0.5), SpikeRule(v0=0.0)):
        layer = SpikeLayer(rule, 2)
        layer.theta.copy_(torch.tensor([1.0, 4.0]))
        at = torch.from_numpy(threshold_of(layer))[None, None]
        assert [layer(share * at, {}).count_nonzero() for share in (0.99, 1.01)] == [0, 2]


def test_a_traced_network_goes_on_as_before() -> None:
    network = model(tiny())
    before = network.predict(EVENTS, SIZE)
    network.trace(EVENTS, SIZE)
    after = network.predict(EVENTS, SIZE)
    assert (after.logits, after.spikes) == (before.logits, before.spikes)
