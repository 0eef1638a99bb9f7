"""Classify one image or recording: the work behind POST /v1/predict."""

import time
from dataclasses import dataclass

from starlette.requests import Request

from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.encoders.sample import Sample
from spikesight.models.classifier import InputPipeline
from spikesight.models.classifier.session import check_objects
from spikesight.models.steps import Answer, Input, SessionError, rounded
from spikesight.service.decoding.decode import Kind, kind_of
from spikesight.service.http.bodies import PredictBody, SegmentBody, StepBody
from spikesight.service.http.errors import ServiceError
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import ServedModel
from spikesight.service.upload.load import file_of, inputs_of, load
from spikesight.service.upload.request import LAST_STEP, AnswerSpec, Result, run_request

RAW_TYPES = ("application/octet-stream", "")


@dataclass(frozen=True)
class Options:
    """What a client wants in the answer beside the label."""

    logits: bool = False
    raw: bool = False  # no noise filter and no region of interest for recordings
    wanted: AnswerSpec = LAST_STEP


async def asked(
    runtime: Runtime, request: Request, name: str, model: str | None, bin_ms: float | None = None
) -> tuple[ServedModel, tuple[bytes, str]]:
    """Return the model of a request, and its sample's bytes and file name. Raises ServiceError, Overloaded at once."""
    runtime.registry.get(model, bin_ms).scheduler.check_room()
    upload = await read_body(request, name)
    return runtime.registry.get(model, bin_ms), upload  # as it is now: it may have been replaced meanwhile


async def read_body(request: Request, name: str = "") -> tuple[bytes, str]:
    """Return the sample's bytes and file name: from a form's field `file`, or the raw body and `name`.

    Raises ServiceError.
    """
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await file_of(request)
    if kind not in RAW_TYPES and not kind.startswith("image/"):
        raise ServiceError(415, "send multipart/form-data with a field 'file', or raw bytes as image/* or octet-stream")
    return await request.body(), name


async def predict(
    runtime: Runtime, model: ServedModel, data: bytes, name: str, options: Options, client: str = ""
) -> PredictBody:
    """Decode and classify an upload. Raises ServiceError, Overloaded, Expired."""
    objects = options.wanted.objects
    if objects:
        try:
            check_objects(model.classifier.card, objects, raw=options.raw)
        except SessionError as error:
            raise ServiceError(400, str(error)) from None
    deadline = runtime.deadline()
    begin = time.perf_counter()
    warnings: list[str] = []
    pipelines: list[InputPipeline] = []

    def inputs_from(loaded: Sample) -> list[Input]:
        warnings.extend(loaded.warnings)
        if loaded.size is not None and model.classifier.contract.kind == "events":
            pipelines.append(InputPipeline(model.classifier.card, loaded.size, raw=options.raw))
        most = runtime.settings.max_recording_steps
        return inputs_of(model.classifier, loaded, most, pipelines[0] if pipelines else None)

    with runtime.admitted(model, client=client):
        loaded = await load(runtime, model, (data, name), inputs_from, client, deadline)
        result = await run_request(
            model, loaded, runtime.mailbox, runtime.decoder, deadline=deadline, wanted=options.wanted
        )
    decoded = result.decoded_s
    input_filter = pipelines[0].filter if pipelines else None
    warnings.extend(pipeline.watch.says for pipeline in pipelines if pipeline.watch.says is not None)
    body = answer_body(model, kind_of(data, name), result, options, warnings, input_filter)
    runtime.metrics.decode_s.labels(model.counted_as).observe(decoded - begin)
    return body


def answer_body(
    model: ServedModel,
    kind: Kind,
    result: Result,
    options: Options,
    warnings: list[str],
    input_filter: InputFilter | None,
) -> PredictBody:  # fmt: skip
    """Return the JSON body: the sample's one answer (models/classifier/verdict.py)."""
    answer = result.verdict.prediction
    fields = answer.fields()
    del fields["start_us"], fields["end_us"], fields["probabilities"]
    return PredictBody(
        **fields,
        model=model.name,
        kind=kind,
        probabilities=dict(zip(model.classifier.labels, map(rounded, answer.probabilities))),
        segments=[SegmentBody(**one._asdict()) for one in result.verdict.segments] if kind == "recording" else None,
        steps=[step_body(answer, options.logits) for answer in result.answers] if options.wanted.every else None,
        logits=result.logits if options.logits else None,
        early=result.early,
        latency_ms=round(result.infer_ms, 3),
        queue_ms=round(result.queue_ms, 3),
        warnings=warnings or None,
        events_in=input_filter.n_events if input_filter else None,
        events_kept=input_filter.n_kept if input_filter else None,
    )


def step_body(answer: Answer, logits: bool) -> StepBody:
    return StepBody(**answer.prediction.fields(logits=logits))
