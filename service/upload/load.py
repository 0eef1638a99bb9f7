"""Load an upload for a network: form -> bytes -> sample -> inputs, each part where it delays nobody else."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from spikesight.encoders.dvs import progress_us
from spikesight.encoders.sample import Sample
from spikesight.models.classifier import Classifier, InputPipeline
from spikesight.models.steps import Input
from spikesight.service.decoding.decode import decode, decodes_fast, kind_of
from spikesight.service.decoding.processes import Killed
from spikesight.service.http.errors import ServiceError
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import ServedModel

T = TypeVar("T")

NO_FORM = "the form is malformed: send multipart/form-data with one file in the field 'file'"


class Form(MultiPartParser):
    """A form that stays in memory, as the size of requests is limited."""

    spool_max_size = 2**40
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def file_of(request: Request) -> tuple[bytes, str]:
    """Return the bytes and the name, as the client wrote it, of a form's only file. Raises ServiceError 400."""

    async def whole() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not parser.complete:
            raise MultiPartException("the form is cut off")

    parser = Form(request.headers, whole(), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException:
        raise ServiceError(400, NO_FORM) from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ServiceError(400, NO_FORM)
        return await file.read(), file.filename or ""
    finally:
        await form.close()


async def load(
    runtime: Runtime,
    model: ServedModel,
    upload: tuple[bytes, str],
    use: Callable[[Sample], T],
    client: str,
    deadline: float,
) -> Callable[[], T]:  # fmt: skip
    """Decode an upload (bytes and name) and apply `use` to the sample. Returns a function that returns the result.

    Call that function outside the event loop: it decodes small images. Anything larger has been decoded before in a
    process of its own, and `use` has run in the thread for heavy work, both in the client's turn. Raises ServiceError
    (so does the function returned), Overloaded, and Expired at `deadline` on time.monotonic().
    """
    data, name = upload
    max_pixels = runtime.settings.max_pixels
    kind, kinds = kind_of(data, name), model.classifier.kinds
    if kind not in kinds:
        others = ", ".join(one.name for one in runtime.registry.all() if kind in one.classifier.kinds) or "none here"
        raise ServiceError(400, f"the model {model.name} takes {kinds[0]}s: send one, or choose another: {others}")
    if decodes_fast(data):
        return lambda: use(decode(data, name, max_pixels))
    async with runtime.decoding(client, deadline):
        try:
            sample = await runtime.processes.run(decode, data, name, max_pixels, deadline=deadline)
        except Killed as killed:
            if killed.spent:
                raise ServiceError(413, f"the {kind} takes too long to decode: send a smaller one") from None
            raise ServiceError(
                400, f"the {kind} cannot be decoded: it is damaged, or asks for too much memory"
            ) from None
        made = await runtime.in_heavy_thread(lambda: use(sample), deadline)
    return lambda: made


def inputs_of(
    classifier: Classifier, sample: Sample, max_steps: int, pipeline: InputPipeline | None = None
) -> list[Input]:
    """Return a sample's inputs. Raises ServiceError 413, before binning, if there are more than `max_steps` bins."""
    events, bin_us = sample.events, classifier.contract.bin_us
    if events is None or sample.size is None:
        return classifier.inputs(sample)
    pipeline = pipeline or InputPipeline(classifier.card, sample.size)
    if len(events):
        binner = pipeline.binner
        steps = int(progress_us(events, bin_us, binner.gap_us, binner.back_us)[-1]) // bin_us + 1
        if steps > max_steps:
            raise ServiceError(413, f"the recording has {steps} steps; this service takes at most {max_steps}: cut it")
    return list(pipeline.recording([events]))
