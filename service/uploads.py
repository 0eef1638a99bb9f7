"""One uploaded sample -> inputs of the network: images and recordings, from untrusted bytes."""

import asyncio
import re
import sys
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encoders.dvs import StreamBinner
from encoders.events import EVENTS, SensorSize
from encoders.recordings import RecordingError, read_recording_bytes
from models.classifier import Classifier, Input, encoder_for
from service.images import UploadError, decode, image_format
from service.packets import progress_us

IMAGES = frozenset({"jpeg", "png", "webp", "bmp"})
VENDOR_MAGIC = (b"#!AER-DAT", b"%", b"\x89HDF\r\n\x1a\n", b"Event Stream")
READ_S = 20  # seconds a vendor's format may take to decode
READERS = asyncio.Semaphore(1)  # one such process at a time
DAMAGED = "the recording is damaged or cut off: send it again"
UNKNOWN = "neither an image (JPEG, PNG, WebP, BMP) nor a recording (AEDAT4, EVT2, EVT3, DAT, N-MNIST .bin)"

Kind = Literal["image", "recording"]


def kind_of(data: bytes, name: str) -> Kind:
    """What an upload is, by content; `name` matters only for N-MNIST's .bin, which has no magic. Raises UploadError."""
    if not data:
        raise UploadError(400, "the upload is empty: send an image or a recording")
    if image_format(data) is not None:
        return "image"
    if data.startswith(VENDOR_MAGIC) or suffix_of(name) == ".bin":
        return "recording"
    raise UploadError(415, f"the upload is {UNKNOWN}")


def suffix_of(name: str) -> str:
    """The last suffix of a client's file name, if it is a plain one; nothing else of the name is used."""
    match = re.search(r"\.[A-Za-z0-9]{1,8}\Z", name[-64:])
    return match.group().lower() if match else ""


def image_inputs(classifier: Classifier, data: bytes, max_pixels: int, formats: frozenset[str] = IMAGES) -> list[Input]:
    """The steps that show an encoded still image to the network. Raises UploadError."""
    return classifier.image_inputs(decode(data, max_pixels, formats=formats))


def event_inputs(classifier: Classifier, events: NDArray, sensor: SensorSize, max_steps: int) -> list[Input]:
    """The bins of a recording. Raises UploadError: 400 for a model of images, 413 for more than `max_steps` bins."""
    contract = classifier.contract
    if contract.kind != "events":
        raise UploadError(400, "this model takes images: send one, or name another model")
    if len(events):
        binner = StreamBinner(encoder_for(contract, sensor))
        steps = int(progress_us(events, contract.bin_us, binner.gap_us, binner.back_us)[-1]) // contract.bin_us + 1
        if steps > max_steps:
            raise UploadError(413, f"the recording has {steps} steps; this service takes at most {max_steps}")
    return classifier.event_inputs(events, sensor)


async def read_upload(data: bytes, name: str) -> tuple[NDArray, SensorSize]:
    """The events of an uploaded recording and its sensor. Raises UploadError.

    Vendors' formats are decoded in a process of their own, with a limit on memory and time: a hostile file can only end
    that process.
    """
    if not data.startswith(VENDOR_MAGIC):
        try:
            recording = read_recording_bytes(data, f"upload{suffix_of(name)}")
        except RecordingError:
            raise UploadError(400, DAMAGED) from None
        return recording.events, recording.size
    async with READERS:
        answer = await decoded_apart(data, suffix_of(name))
    width, height = np.frombuffer(answer[:8], "<u4").tolist()
    return np.frombuffer(answer[8:], EVENTS), SensorSize(width, height)


async def decoded_apart(data: bytes, suffix: str) -> bytes:
    """What the decoding process answers. Raises UploadError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "service.decoding", suffix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        answer, _ = await asyncio.wait_for(process.communicate(data), READ_S)
    except TimeoutError:
        raise UploadError(413, "the recording takes too long to decode: send a shorter one") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise UploadError(400, DAMAGED)
    return answer


def tensor_inputs(x: NDArray[np.float32]) -> list[Input]:
    """x [T, C, H, W] as inputs; a step is one unit of time."""
    return [Input(step, t, t + 1, 0, False) for t, step in enumerate(np.ascontiguousarray(x))]
