"""JSON bodies of /v2, as defined by the Open Inference Protocol and its extensions."""

from typing import Any

from pydantic import Field

from spikesight.service.http.bodies import Body


class ServerBody(Body):
    """The server's name, version and supported extensions."""

    name: str
    version: str
    extensions: list[str]


class IndexEntry(Body):
    """One model in the repository index."""

    name: str
    version: str
    state: str = Field(examples=["READY"])
    reason: str


class ModelReadyBody(Body):
    """Whether a model accepts requests."""

    name: str
    ready: bool


class TensorBody(Body):
    """Description of an input or output tensor; -1 in its shape means any size."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int]


class MetadataBody(Body):
    """A model's input and output tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorBody]
    outputs: list[TensorBody]


class ConfigTensorBody(Body):
    """Description of a tensor in a model's configuration; outputs have no `optional`."""

    name: str
    data_type: str = Field(examples=["TYPE_FP32"])
    dims: list[int]
    optional: bool | None = None


class ConfigBody(Body):
    """A model's configuration."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfigTensorBody]
    output: list[ConfigTensorBody]


class TimerBody(Body):
    """A count, and the total time in nanoseconds."""

    count: int
    ns: int


class StatisticsBody(Body):
    """A model's statistics since it was loaded; `last_inference` in ms since 1970."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, TimerBody]
    batch_stats: list[dict[str, Any]]


class AllStatisticsBody(Body):
    """Statistics of one or all models."""

    model_stats: list[StatisticsBody]


class InferOutputBody(TensorBody):
    """An output tensor with its values, unless they follow in binary."""

    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferBody(Body):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[InferOutputBody]


PARAMETERS = {"type": "object"}
NAMED = {"name": {"type": "string"}, "parameters": PARAMETERS}
INFER_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": PARAMETERS,
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    **NAMED,
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "datatype": {"type": "string", "enum": ["FP32", "BYTES"]},
                    "data": {"type": "array", "description": "flat or nested; absent where it follows in binary"},
                },
            },
        },
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": NAMED}},
    },
}
