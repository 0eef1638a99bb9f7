"""Encoder, network and labels as one thing that predicts, step by step, from events or a still image.

`classifier` holds the network; `inputs` makes its inputs of events; `session` is one live stream; `objects` reads
several windows of one; `timeline` says what happened when.
"""

from spikesight.models.classifier.classifier import Classifier, Stepper
from spikesight.models.classifier.inputs import LONGEST_SAMPLE, InputPipeline, binner_for, encoder_for, sensor_of

__all__ = ["LONGEST_SAMPLE", "Classifier", "InputPipeline", "Stepper", "binner_for", "encoder_for", "sensor_of"]
