"""Classify events or a still image step by step: event encoder, network and labels behind one interface.

`classifier` holds the network; `inputs` turns events into network inputs; `session` is one live stream; `objects` reads
out several windows of a stream; `verdict` answers a whole recording.
"""

from spikesight.models.classifier.classifier import Classifier, Stepper
from spikesight.models.classifier.inputs import LONGEST_SAMPLE, InputPipeline, binner_for, encoder_for, sensor_of

__all__ = ["LONGEST_SAMPLE", "Classifier", "InputPipeline", "Stepper", "binner_for", "encoder_for", "sensor_of"]
