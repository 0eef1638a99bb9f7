"""A small typed client: predictions for files and arrays, and live streams.

    client = Client("http://127.0.0.1:8000")
    client.predict(Path("seven.png")).label
    with client.stream(width=346, height=260) as stream:
        stream.send_events(events)
        for message in stream.receive():
            ...

Needs nothing beyond what the service itself needs.
"""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from spikesight.encoders.packets import pack
from spikesight.service.http.bodies import CameraBody, ModelsBody, PredictBody, SampleBody, StepBody
from spikesight.service.http.person import sentence_of
from spikesight.service.stream.messages import EVENTS_T64, IMAGE, PICTURE, Frame
from spikesight.service.teach.bodies import TeachingBody
from spikesight.service.teach.remote import RemoteTeaching, query


class ClientError(Exception):
    """The service refused, in its own sentence; `status` is the HTTP status or the close code, 0 for no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Inside:
    """What the network did in a step, for a stream that probes."""

    input: NDArray[np.uint8]  # [H W]
    fired: NDArray[np.uint8]  # [F], a bit a neuron
    membranes: NDArray[np.float32] | None  # [C] at the place that is probed


class Prediction(StepBody):
    """One step of a stream, as `docs/service/http.md` describes it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    seq: int
    t: float
    steady: str
    layer_spikes: list[int]
    total_spikes: int
    total_synops: int
    inside: Inside | None = None  # with `probe` in hello
    queue_ms: float
    step_ms: float
    dropped: int
    reset: bool
    window: list[float] | None = None  # left, top and side of the region of interest, pixels; None: none, or not yet
    events_in: int = 0  # since the stream began
    events_kept: int = 0  # of these by the noise filter
    camera: str | None = None  # what the camera does otherwise than those that the model learnt from


@dataclass(frozen=True)
class Ack:
    """A message that closed no bin."""

    seq: int
    t: float
    dropped: int


@dataclass(frozen=True)
class Bad:
    """A message the service could not use; the stream goes on."""

    seq: int
    error: str


@dataclass(frozen=True)
class Picture:
    """The events of a message, thinned: x, y and polarity."""

    seq: int
    step: int
    width: int
    height: int
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    on: NDArray[np.bool_]


@dataclass(frozen=True)
class Snapshot:
    """A session's state, for `restore` of another stream."""

    model: str
    state: str


@dataclass(frozen=True)
class Ready:
    """A teaching session's stream goes on with a newer model, with these labels."""

    model: str
    labels: list[str]


Message = Prediction | Ack | Bad | Picture | Snapshot | TeachingBody | Ready
KINDS: dict[str, type[Prediction | Ack | Bad | Snapshot | TeachingBody | Ready]] = {
    "prediction": Prediction, "ack": Ack, "error": Bad, "snapshot": Snapshot, "lesson": TeachingBody, "ready": Ready,
}  # fmt: skip


class Client:
    """One service. Methods raise ClientError."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout_s: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http address")
        self.url, self.timeout_s, self._parts = url.rstrip("/"), timeout_s, parts
        self.authorization = {} if token is None else {"Authorization": f"Bearer {token}"}

    def models(self) -> ModelsBody:
        """The models and what they must be fed."""
        return ModelsBody.model_validate_json(self._ask("GET", "/v1/models"))

    def rename(self, model: str, to: str) -> None:
        """Give a model that was taught and saved another name."""
        self._ask("PATCH", f"/v1/models/{quote(model, safe='')}{query(to=to)}")

    def remove(self, model: str) -> None:
        """Remove a model that was taught and saved, its folder too."""
        self._ask("DELETE", f"/v1/models/{quote(model, safe='')}")

    def samples(self) -> list[SampleBody]:
        """The shipped recordings."""
        return [SampleBody(**entry) for entry in json.loads(self._ask("GET", "/samples"))]

    def cameras(self) -> list[CameraBody]:
        """The sources the service opened."""
        return [CameraBody(**entry) for entry in json.loads(self._ask("GET", "/v1/cameras"))]

    def ready(self) -> bool:
        """Whether requests are being taken."""
        try:
            return bool(json.loads(self._ask("GET", "/health/ready"))["ready"])
        except ClientError:
            return False

    def predict(
        self,
        sample: Path | bytes,
        *,
        model: str | None = None,
        name: str = "",
        logits: bool = False,
        steps: bool = False,
        confidence: float | None = None,
        error_rate: float | None = None,
        bin_ms: float | None = None,
        objects: int = 0,
    ) -> PredictBody:
        """The answer to an image or recording, a file or its bytes (then `name` tells N-MNIST's .bin)."""
        if isinstance(sample, Path):
            sample, name = sample.read_bytes(), sample.name
        wanted = query(
            model=model, name=name or None, confidence=confidence, error_rate=error_rate, bin_ms=bin_ms,
            logits="1" if logits else None, steps="1" if steps else None, objects=objects or None,
        )  # fmt: skip
        body = self._ask("POST", f"/v1/predict{wanted}", sample, "application/octet-stream")
        return PredictBody.model_validate_json(body)

    def teach(self, features: str | None = None) -> RemoteTeaching:
        """Begin a teaching session; its `id` is what `stream(lesson=...)` takes."""
        return RemoteTeaching(self._ask, features)

    lesson = teach  # its name before

    def stream(self, **hello: Any) -> "Stream":
        """Open a live stream; the keywords are the fields of `spikesight.service.stream.messages.Hello`."""
        return Stream(self, hello)

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        secure = self._parts.scheme == "https"
        connection = (HTTPSConnection if secure else HTTPConnection)(
            self._parts.hostname or "", self._parts.port, timeout=self.timeout_s
        )
        try:
            connection.request(method, path, body, headers | self.authorization)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException) as error:
            raise ClientError(0, f"{self.url} does not answer") from error
        finally:
            connection.close()
        if answer.status not in (200, 204):
            raise ClientError(answer.status, sentence_of(data) or f"the service answered {answer.status}")
        return data


class Stream:
    """A live stream: send frames and packets, receive messages. A context manager."""

    def __init__(self, client: Client, hello: dict[str, Any]) -> None:
        try:
            opened = connect(
                "ws" + client.url.removeprefix("http") + "/v1/stream",
                additional_headers=client.authorization,
                compression=None,
                open_timeout=client.timeout_s,
                max_size=64 * 2**20,
                proxy=None,
            )
            self._socket: ClientConnection = opened.__enter__()
        except InvalidStatus as error:
            status, said = error.response.status_code, sentence_of(bytes(error.response.body or b""))
            raise ClientError(status, said or f"the service answered {status}") from None
        except OSError as error:
            raise ClientError(0, f"{client.url} does not answer") from error
        self.seq = 0
        self._send(json.dumps({"type": "hello", "protocol": 1, **hello}))
        self.ready: dict[str, Any] = json.loads(self._receive(client.timeout_s))

    def send_events(self, events: NDArray, t_ms: float | None = None) -> int:
        """A packet of EVENTS; its number."""
        return self._frame(EVENTS_T64, pack(events, "t64"), t_ms)

    def send_image(self, data: bytes, t_ms: float | None = None) -> int:
        """A camera frame as JPEG, PNG or WebP bytes, captured at `t_ms` (default: now); its number."""
        return self._frame(IMAGE, data, t_ms)

    def send_payload(self, kind: int, payload: bytes, t_ms: float | None = None) -> int:
        """A payload in one of the documented layouts; its number."""
        return self._frame(kind, payload, t_ms)

    def reset(self) -> None:
        """Forget the membranes."""
        self._send('{"type": "reset"}')

    def settings(self, threshold: float | None = None, noise_hz: float | None = None) -> None:
        """The pixel model of this stream's frames."""
        self._send(json.dumps({"type": "settings", "threshold": threshold, "noise_hz": noise_hz}))

    def probe(self, probe: bool | tuple[int, int, int]) -> None:
        """From now on `inside` comes with predictions, or no more; [layer, row, column]: with the membranes there."""
        self._send(json.dumps({"type": "probe", "probe": probe}))

    def show(self, label: str | None) -> None:
        """On a teaching session's stream: what follows are examples of this class; None: of none."""
        self._send(json.dumps({"type": "show", "class": label}))

    def snapshot(self) -> None:
        """Ask for a Snapshot; it comes among the messages, after all answers to what was sent before."""
        self._send('{"type": "snapshot"}')

    def receive(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Messages as they come, until none comes for `timeout_s`. Raises ClientError when the stream is closed."""
        while True:
            try:
                data = self._receive(timeout_s)
            except TimeoutError:
                return
            yield parse(data)

    def close(self) -> None:
        """Say goodbye."""
        self._socket.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self, kind: int, payload: bytes, t_ms: float | None) -> int:
        self.seq += 1
        t_ms = time.monotonic() * 1e3 if t_ms is None else t_ms
        self._send(Frame(self.seq, t_ms, kind, payload).pack())
        return self.seq

    def _send(self, message: str | bytes) -> None:
        try:
            self._socket.send(message)
        except ConnectionClosed as error:
            raise closed(error) from None

    def _receive(self, timeout_s: float | None) -> str | bytes:
        try:
            return self._socket.recv(timeout_s)
        except ConnectionClosed as error:
            raise closed(error) from None


def closed(error: ConnectionClosed) -> ClientError:
    """Why the service closed the stream."""
    if error.rcvd is None:
        return ClientError(1006, "the connection was lost")
    return ClientError(error.rcvd.code, error.rcvd.reason or "the service closed the stream")


def parse(data: str | bytes) -> Message:
    """A message of the service."""
    if isinstance(data, bytes):
        seq, step, n, width, height = PICTURE.unpack_from(data)
        pairs = np.frombuffer(data, "<u2", 2 * n, PICTURE.size).reshape(n, 2)
        return Picture(
            seq, step, width, height, pairs[:, 0], (pairs[:, 1] & 0x7FFF).astype(np.uint16), pairs[:, 1] >= 0x8000
        )
    body: dict[str, Any] = json.loads(data)
    kind = body.pop("type", None)
    if kind == "prediction":
        if (inside := body.get("inside")) is not None:
            shown, fired = (np.frombuffer(base64.b64decode(inside[name]), np.uint8) for name in ("input", "fired"))
            membranes = inside["membranes"]
            body["inside"] = Inside(shown, fired, None if membranes is None else np.array(membranes, np.float32))
    elif kind == "ready":
        body = {name: body[name] for name in ("model", "labels")}
    if kind not in KINDS:
        raise ClientError(0, f"unknown message {kind!r}")
    return KINDS[kind](**body)
