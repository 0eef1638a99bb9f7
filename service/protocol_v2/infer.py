"""Answer an inference request of the Open Inference Protocol: parse, decode, step, encode, count."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request, Response

from spikesight.encoders.sample import Sample
from spikesight.models.steps import Input
from spikesight.service.http.shares import address_of
from spikesight.service.protocol_v2 import tensors
from spikesight.service.protocol_v2.endpoints import LABEL, STEPS, Endpoint, endpoint
from spikesight.service.protocol_v2.sequences import Sequences
from spikesight.service.protocol_v2.tensors import InferRequest, Output, V2Error
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.processes import Killed
from spikesight.service.scheduler.request import AnswerSpec, Result, run_inputs
from spikesight.service.upload.decode import WEB_IMAGES, image_format
from spikesight.service.upload.load import inputs_of, load

INLINE_BYTES = 16384


async def infer(runtime: Runtime, sequences: Sequences, name: str, version: str | None, request: Request) -> Response:
    """Answer one inference request: tensors in, the model's answer as tensors out."""
    begin = time.perf_counter()
    endpoint(runtime, name, version).model.scheduler.check_room()
    data = await request.body()
    found = endpoint(runtime, name, version)  # as it is now: the model may have been replaced meanwhile
    header = request.headers.get("inference-header-content-length")
    try:
        client = address_of(request)
        with runtime.admitted(found.model):  # it runs on until this is answered, also if it is replaced now
            asked = await parse_body(runtime, data, header, found, client)
            results, decoded = await run_request(runtime, sequences, found, asked, client)
        outputs = tensors.select(asked, all_outputs(found, results), found.model.classifier.labels)
        body, length = tensors.answer(found.name, outputs, asked.id)
    except Exception:
        found.statistics.fail(time.perf_counter() - begin)
        raise
    found.statistics.success(results, begin, decoded)
    if length is None:
        return Response(body, media_type="application/json")
    headers = {"Inference-Header-Content-Length": str(length)}
    return Response(body, media_type="application/octet-stream", headers=headers)


async def parse_body(runtime: Runtime, data: bytes, header: str | None, found: Endpoint, client: str) -> InferRequest:
    """Parse and check a request's body: a large one in a thread, large JSON in a process of its own."""
    document = len(data) if header is None or not tensors.is_length(header) else int(header)
    if len(data) <= INLINE_BYTES:
        asked = tensors.parse(data, header, found.inputs)
    elif document <= INLINE_BYTES:
        loop = asyncio.get_running_loop()
        asked = await loop.run_in_executor(runtime.decoder, tensors.parse, data, header, found.inputs)
    else:  # not in a thread, as the JSON parser holds the interpreter's lock
        deadline = runtime.deadline()
        try:
            async with runtime.decoding(client, deadline):
                asked = await runtime.processes.run(tensors.parse, data, header, found.inputs, deadline=deadline)
        except Killed:
            raise V2Error("the body asks for too much: send the tensors as binary", 413) from None
    known = {spec.name: spec for spec in found.outputs}
    for wish in asked.wishes:
        if wish.name not in known:
            raise V2Error(f"unknown output; this model gives {', '.join(known)}")
        if wish.classes and len(known[wish.name].shape) != 2:
            raise V2Error(f"output {wish.name} cannot be classified")
    return asked


async def run_request(
    runtime: Runtime, sequences: Sequences, found: Endpoint, asked: InferRequest, client: str
) -> tuple[list[Result], float]:
    """Decode and step all samples, of which one is admitted; return a result a sample, and when decoding was done
    (time.perf_counter()).
    """
    deadline = runtime.deadline(timeout_s(asked.parameters))
    sequence = sequence_of(asked.parameters)
    if sequence is not None and not found.sequences:
        raise V2Error(f"sequences are for {found.name}{STEPS}")
    with runtime.admitted(found.model, sample_count(runtime, asked) - 1):
        batch = await batch_of(runtime, found, asked, deadline, client)
        decoded = time.perf_counter()
        if sequence is not None:
            results = [await run_sequence(sequences, found, sequence, batch, deadline, client)]
        else:
            results = await run_all(runtime, found, batch, deadline, confidence_of(asked.parameters))
    return results, decoded


def sample_count(runtime: Runtime, asked: InferRequest) -> int:
    """Return the number of samples in the request. Raises V2Error: 400 for none, 413 above the limit."""
    (value,) = asked.inputs.values()
    limit = min(runtime.settings.max_batch, runtime.settings.max_queue)
    if len(value) < 1:
        raise V2Error("the request holds no sample")
    if len(value) > limit:
        raise V2Error(f"a request may hold at most {limit} samples", 413)
    return len(value)


async def batch_of(
    runtime: Runtime, found: Endpoint, asked: InferRequest, deadline: float, client: str
) -> list[list[Input]]:
    """Return the inputs of every sample. Raises V2Error, ServiceError, Expired."""
    (value,) = asked.inputs.values()
    settings, model = runtime.settings, found.model
    if isinstance(value, list):
        if any(data and image_format(data) not in WEB_IMAGES for data in value):
            raise V2Error("not an image this protocol takes: send JPEG, PNG or WebP", 415)

        def use(sample: Sample) -> list[Input]:
            return inputs_of(model.classifier, sample, settings.max_recording_steps)

        made = [await load(runtime, model, (data, ""), use, client, deadline, WEB_IMAGES) for data in value]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(runtime.decoder, lambda: [inputs() for inputs in made])
    if not 1 <= value.shape[1] <= settings.max_recording_steps:
        raise V2Error(
            f"a sample must have 1 to {settings.max_recording_steps} steps", 400 if not value.shape[1] else 413
        )
    if not np.isfinite(value).all():
        raise V2Error("the values must be finite")
    x = np.ascontiguousarray(value, np.float32)
    return [
        [Input(step, t, t + 1, 0, False) for t, step in enumerate(sample)] for sample in x
    ]  # a step: a unit of time


async def run_all(
    runtime: Runtime, found: Endpoint, batch: list[list[Input]], deadline: float, confidence: float | None
) -> list[Result]:
    """Run every sample as a request of its own to the scheduler, all at once."""
    wanted = AnswerSpec(every=False, confidence=confidence)
    calls = (run_inputs(found.model, inputs, runtime.mailbox, deadline=deadline, wanted=wanted) for inputs in batch)
    return await asyncio.gather(*calls)


@dataclass(frozen=True)
class SequenceWish:
    """The sequence that a request belongs to, and whether it starts or ends it."""

    identity: int | str
    start: bool
    end: bool


def sequence_of(parameters: dict[str, Any]) -> SequenceWish | None:
    """Read sequence_id, sequence_start and sequence_end; None for no sequence (id 0 or ""). Raises V2Error."""
    identity = parameters.get("sequence_id", 0)
    flags = [parameters.get(name, False) for name in ("sequence_start", "sequence_end")]
    if type(identity) not in (int, str) or (isinstance(identity, str) and len(identity) > 256):
        raise V2Error("sequence_id must be a number or a short string")
    if not all(isinstance(flag, bool) for flag in flags):
        raise V2Error("sequence_start and sequence_end must be true or false")
    if identity in (0, ""):
        if any(flags):
            raise V2Error("sequence_start and sequence_end need a sequence_id")
        return None
    return SequenceWish(identity, *flags)


async def run_sequence(
    sequences: Sequences, found: Endpoint, wish: SequenceWish, batch: list[list[Input]], deadline: float, client: str
) -> Result:
    """Run the next steps of a sequence from its membranes."""
    if len(batch) != 1:
        raise V2Error("a sequence takes one sample a request")
    model, identity = found.model, wish.identity
    sequence = sequences.begin(model, identity, client) if wish.start else sequences.resume(model, identity)
    result = await sequences.run(sequence, batch[0], deadline)
    if wish.end:
        sequences.end(sequence)
    return result


def timeout_s(parameters: dict[str, Any]) -> float | None:
    """Return the request's own deadline in seconds (sent in microseconds); None if it has none. Raises V2Error."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or not 0 <= value < 2**64:
        raise V2Error("timeout must be a number of microseconds")
    return value / 1e6


def confidence_of(parameters: dict[str, Any]) -> float | None:
    """Return the service's own parameter `confidence`: stop a sample at the first step that exceeds it."""
    value = parameters.get("confidence")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < 1:
        raise V2Error("confidence must lie between 0 and 1")
    return float(value)


def all_outputs(found: Endpoint, results: list[Result]) -> dict[str, Output]:
    """Return all outputs of the answer by name."""
    last = [result.verdict.prediction for result in results]
    values: dict[str, np.ndarray | list[bytes]] = {
        LABEL: [prediction.label.encode() for prediction in last],
        "probabilities": np.asarray([prediction.probabilities for prediction in last], np.float32),
        "known": np.asarray([prediction.known for prediction in last], np.float32),
        "logits": np.asarray([result.logits for result in results], np.float32),
        "steps": np.asarray([result.steps for result in results], np.int64),
        "spikes": np.asarray([prediction.spikes for prediction in last], np.int64),
        "synops": np.asarray([prediction.synops for prediction in last], np.int64),
    }
    shapes = {spec.name: (len(results), *spec.shape[1:]) for spec in found.outputs}
    return {spec.name: Output(spec.name, spec.datatype, shapes[spec.name], values[spec.name]) for spec in found.outputs}
