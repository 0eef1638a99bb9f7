"""Parse and write bodies of the Open Inference Protocol v2: JSON and its binary-tensor extension. Input is not trusted.

A request is JSON, directly followed by raw tensors in the order of its inputs if the header
Inference-Header-Content-Length gives the length of the JSON; 0 means that the whole body is one BYTES element.

Large JSON is parsed in a process of its own (`scheduler.processes`), so this module imports nothing heavy.
"""

import json
import struct
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from spikesight.service.http.errors import ServiceError

DATATYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    **{f"INT{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
MAX_DIMS = 8
MAX_INPUTS = 16
LENGTH = struct.Struct("<I")

Value = NDArray | list[bytes]


class V2Error(ServiceError):
    """A request that violates the protocol."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(status, sentence)


@dataclass(frozen=True)
class Spec:
    """Name, datatype and shape of a tensor that a model takes or returns; -1 means any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def body(self) -> dict[str, Any]:
        """Return the tensor's description for the metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Wish:
    """An output that the client asks for."""

    name: str
    binary: bool
    classes: int = 0  # > 0: return this many best classes (classification extension)


@dataclass(frozen=True)
class InferRequest:
    """A parsed inference request."""

    inputs: dict[str, Value]
    wishes: tuple[Wish, ...]  # empty: all outputs
    binary: bool  # format of the outputs if `wishes` is empty
    id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def parse(body: bytes, header_length: str | None, specs: tuple[Spec, ...]) -> InferRequest:
    """Parse a request for a model with these inputs. Raises V2Error."""
    if header_length is None:
        return from_document(document_of(body), memoryview(b""), specs)
    if not is_length(header_length):
        raise V2Error("Inference-Header-Content-Length must be a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise V2Error("Inference-Header-Content-Length is larger than the body")
    if length == 0:
        if len(specs) != 1 or specs[0].datatype != "BYTES":
            raise V2Error("a raw body is for models whose only input is BYTES")
        return InferRequest({specs[0].name: [body]}, (), binary=False)
    return from_document(document_of(body[:length]), memoryview(body)[length:], specs)


def is_length(text: str) -> bool:
    """Return whether a header's text is a number of bytes."""
    return text.isascii() and text.isdigit() and len(text) < 12


def document_of(data: bytes) -> dict[str, Any]:
    """Parse strict JSON, without NaN and Infinity, to an object. Raises V2Error."""

    def refuse(_: str) -> NoReturn:
        raise V2Error("NaN and Infinity are not JSON")

    try:
        document = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise V2Error("the body is not JSON") from None
    if not isinstance(document, dict):
        raise V2Error("the body must be a JSON object")
    return document


def from_document(document: dict[str, Any], rest: memoryview, specs: tuple[Spec, ...]) -> InferRequest:
    """Check and read every part of a request; `rest` is its binary part. Raises V2Error.

    Nothing is allocated by a size that the request only claims.
    """
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_INPUTS:
        raise V2Error("'inputs' must be a list with at least one input")
    known, values, at = {spec.name: spec for spec in specs}, {}, 0
    for entry in inputs:
        if not isinstance(entry, dict):
            raise V2Error("an input must be an object")
        spec = known.get(entry.get("name", "")) if isinstance(entry.get("name"), str) else None
        if spec is None or spec.name in values:
            raise V2Error(f"unknown or repeated input; this model takes {', '.join(known)}")
        values[spec.name], used = input_value(entry, spec, rest[at:])
        at += used
    if at != len(rest):
        raise V2Error("bytes are left over after the last tensor")
    parameters = parameters_of(document)
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise V2Error("binary_data_output must be true or false")
    identity = document.get("id")
    if identity is not None and (not isinstance(identity, str) or len(identity) > 1024):
        raise V2Error("'id' must be a string of at most 1024 characters")
    return InferRequest(values, wishes_of(document.get("outputs"), binary), binary, identity, parameters)


def parameters_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, input or output. Raises V2Error."""
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise V2Error("'parameters' must be an object")
    if any(name.startswith("shared_memory") for name in parameters):
        raise V2Error("shared memory is not offered: send the tensor in the body")
    return parameters


def input_value(entry: dict[str, Any], spec: Spec, rest: memoryview) -> tuple[Value, int]:
    """Return an input's value, and how many bytes of the binary part it used."""
    if entry.get("datatype") != spec.datatype:
        raise V2Error(f"input {spec.name} is of datatype {spec.datatype}")
    shape = shape_of(entry.get("shape"))
    if len(shape) != len(spec.shape) or any(wanted not in (-1, size) for wanted, size in zip(spec.shape, shape)):
        raise V2Error(f"input {spec.name} must have the shape {list(spec.shape)} (-1: any size)")
    size = parameters_of(entry).get("binary_data_size")
    if size is None:
        return json_value(entry, spec, shape), 0
    if type(size) is not int or not 0 <= size <= len(rest):
        raise V2Error("binary_data_size does not fit the body")
    if "data" in entry:
        raise V2Error("an input has either data or binary_data_size")
    return binary_value(bytes(rest[:size]), spec.datatype, shape), size


def shape_of(shape: Any) -> tuple[int, ...]:
    """Check a shape: a list of whole numbers, 0 or more. Raises V2Error."""
    if not isinstance(shape, list) or len(shape) > MAX_DIMS:
        raise V2Error(f"'shape' must be a list of at most {MAX_DIMS} sizes")
    if any(type(size) is not int or not 0 <= size < 2**31 for size in shape):
        raise V2Error("a size in 'shape' must be a whole number, 0 or more")
    return tuple(shape)


def binary_value(data: bytes, datatype: str, shape: tuple[int, ...]) -> Value:
    """Read a tensor from the binary part: little-endian, row-major; each BYTES element has its length in front."""
    n = prod(shape)
    if datatype != "BYTES":
        if len(data) != n * DATATYPES[datatype].itemsize:
            raise V2Error("'shape' does not match the data")
        return np.frombuffer(data, DATATYPES[datatype]).reshape(shape)
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        if at + LENGTH.size > len(data):
            raise V2Error("a BYTES element is cut off")
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data) or len(elements) >= n:
            raise V2Error("'shape' does not match the data")
        elements.append(data[at : at + length])
        at += length
    if len(elements) != n:
        raise V2Error("'shape' does not match the data")
    return elements


def json_value(entry: dict[str, Any], spec: Spec, shape: tuple[int, ...]) -> Value:
    """Read a tensor from the JSON part, where it may be flat or nested."""
    data = entry.get("data")
    if not isinstance(data, list):
        raise V2Error(f"input {spec.name} has no data")
    if spec.datatype == "BYTES":
        raise V2Error("image bytes cannot travel in JSON: send the image as binary")
    flat: list[Any] = []
    flatten(data, flat, prod(shape), 0)
    if len(flat) != prod(shape):
        raise V2Error("'shape' does not match the data")
    if any(type(value) not in (int, float) for value in flat):
        raise V2Error(f"input {spec.name} must hold numbers")
    try:
        value = np.asarray(flat, np.float64)
    except (OverflowError, ValueError):
        raise V2Error(f"input {spec.name} has a number that is too large") from None
    return value.astype(DATATYPES[spec.datatype]).reshape(shape)


def flatten(data: list[Any], into: list[Any], limit: int, depth: int) -> None:
    """Append the elements of a nested list, row-major. Raises V2Error for more than `limit`."""
    if depth > MAX_DIMS:
        raise V2Error("'data' is nested too deeply")
    for value in data:
        if isinstance(value, list):
            flatten(value, into, limit, depth + 1)
        else:
            into.append(value)
    if len(into) > limit:
        raise V2Error("'shape' does not match the data")


def wishes_of(outputs: Any, binary: bool) -> tuple[Wish, ...]:
    """Return the outputs that the client asks for; an output's own `binary_data` overrides `binary`."""
    if outputs is None:
        return ()
    if not isinstance(outputs, list) or len(outputs) > MAX_INPUTS:
        raise V2Error("'outputs' must be a list")
    wishes: list[Wish] = []
    for entry in outputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise V2Error("an output must be an object with a name")
        parameters = parameters_of(entry)
        own, classes = parameters.get("binary_data", binary), parameters.get("classification", 0)
        if not isinstance(own, bool):
            raise V2Error("binary_data must be true or false")
        if type(classes) is not int or classes < 0 or ("classification" in parameters and classes < 1):
            raise V2Error("classification must be a number of classes, 1 or more")
        wishes.append(Wish(entry["name"], own, classes))
    return tuple(wishes)


@dataclass(frozen=True)
class Output:
    """A tensor of the answer."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    value: NDArray | list[bytes]
    binary: bool = False


def select(request: InferRequest, available: dict[str, Output], labels: tuple[str, ...]) -> list[Output]:
    """Return the outputs that the client asks for, in that order; their names have been checked before."""
    wishes = request.wishes or tuple(Wish(name, request.binary) for name in available)
    chosen = [(available[wish.name], wish) for wish in wishes]
    return [
        replace(classified(output, wish.classes, labels) if wish.classes else output, binary=wish.binary)
        for output, wish in chosen
    ]


def classified(output: Output, classes: int, labels: tuple[str, ...]) -> Output:
    """Apply the classification extension: the k highest values as `value:index:label`, BYTES [N, k]."""
    assert isinstance(output.value, np.ndarray)
    k = min(classes, output.shape[1])
    order = np.argsort(-output.value, axis=1, kind="stable")[:, :k]
    texts = [
        f"{row[index]:f}:{index}:{labels[index]}".encode() for row, best in zip(output.value, order) for index in best
    ]
    return Output(output.name, "BYTES", (output.shape[0], k), texts)


def answer(model: str, outputs: list[Output], identity: str | None) -> tuple[bytes, int | None]:
    """Return the answer's body, and the length of its JSON part if binary tensors follow (else None)."""
    entries: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if output.binary:
            blobs.append(raw_bytes(output))
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
        elif isinstance(output.value, list):
            entry["data"] = [element.decode("utf-8", "replace") for element in output.value]
        else:
            entry["data"] = output.value.reshape(-1).tolist()
        entries.append(entry)
    document: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": entries}
    if identity is not None:
        document["id"] = identity
    head = json.dumps(document).encode()
    return (head + b"".join(blobs), len(head)) if blobs else (head, None)


def raw_bytes(output: Output) -> bytes:
    """Return a tensor's bytes for the binary part."""
    if isinstance(output.value, list):
        return b"".join(LENGTH.pack(len(element)) + element for element in output.value)
    return output.value.astype(DATATYPES[output.datatype]).tobytes()
