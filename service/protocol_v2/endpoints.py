"""Models of the Open Inference Protocol: each classifier appears as two of them.

NAME takes images (one BYTES input, so that a raw upload works); NAME.steps takes network input x [N, T, C, H, W], with
sequences that keep their membranes.
"""

from dataclasses import dataclass
from typing import Any

from spikesight.models.shipped import STEPS
from spikesight.service.protocol_v2.tensors import Spec
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model, UnknownModel
from spikesight.service.scheduler.statistics import Statistics

VERSION = "1"
LABEL = "label"


@dataclass(frozen=True)
class Endpoint:
    """One model in the protocol's sense: tensors, statistics, and the served model behind it."""

    name: str
    model: Model
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    statistics: Statistics
    sequences: bool

    def metadata(self) -> dict[str, Any]:
        """Return the answer to GET /v2/models/NAME."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "spikesight",
            "inputs": [spec.body() for spec in self.inputs],
            "outputs": [spec.body() for spec in self.outputs],
        }

    def config(self) -> dict[str, Any]:
        """Return the answer to GET /v2/models/NAME/config."""
        return {
            "name": self.name,
            "platform": "spikesight",
            "backend": "",
            "max_batch_size": 0,
            "input": [config_entry(spec) | {"optional": False} for spec in self.inputs],
            "output": [config_entry(spec) for spec in self.outputs],
        }


def config_entry(spec: Spec) -> dict[str, Any]:
    """Describe a tensor as the configuration extension does."""
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}


def endpoints(runtime: Runtime) -> dict[str, Endpoint]:
    """Return all models of the protocol by name."""
    found: dict[str, Endpoint] = {}
    for model in runtime.registry.all():
        classes = len(model.classifier.labels)
        outputs = (
            Spec(LABEL, "BYTES", (-1,)),
            Spec("probabilities", "FP32", (-1, classes)),
            Spec("logits", "FP32", (-1, classes)),
            Spec("steps", "INT64", (-1,)),
            Spec("spikes", "INT64", (-1,)),
            Spec("synops", "INT64", (-1,)),
            *((Spec("known", "FP32", (-1,)),) if model.classifier.novelty is not None else ()),
        )
        image = (Spec("image", "BYTES", (-1,)),)
        x = (Spec("x", "FP32", (-1, -1, *model.classifier.contract.shape)),)
        found[model.name] = Endpoint(model.name, model, image, outputs, model.statistics, False)
        name = model.name + STEPS
        found.setdefault(name, Endpoint(name, model, x, outputs, model.steps_statistics, True))
    return found


def endpoint(runtime: Runtime, name: str, version: str | None) -> Endpoint:
    """Return one model of the protocol. Raises UnknownModel."""
    found = endpoints(runtime).get(name)
    if found is None or version not in (None, VERSION):
        raise UnknownModel
    return found
