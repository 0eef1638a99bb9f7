"""A small typed client of the HTTP service: predictions for files, and live streams.

    client = Client("http://127.0.0.1:8000")
    client.predict(Path("seven.png")).label
    with client.stream(width=346, height=260) as stream:
        stream.send_events(events)
        for message in stream.receive():
            ...

It has no dependency that the service does not have.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from spikesight.encoders.events import as_events
from spikesight.encoders.packets import pack
from spikesight.service.http.bodies import CameraBody, ModelsBody, PredictBody, SampleBody, StepBody
from spikesight.service.stream.messages import EVENTS_T64, IMAGE, PICTURE, Frame
from spikesight.service.teach.bodies import TakenBody, TeachingBody


class RemoteTeaching:
    """A teaching session on a service; a context manager that ends it. Methods raise ClientError.

    teaching.show("cup", Path("cup.aedat4"))
    teaching.show("phone", Path("phone.aedat4"))
    print(teaching.state(wait=True).advice)
    Path("things.zip").write_bytes(teaching.download("things"))
    """

    def __init__(self, ask: Callable[..., bytes], features: str | None = None) -> None:
        self._ask = ask
        self.id = TeachingBody.model_validate_json(ask("POST", "/v1/teach" + query(features=features))).id

    def state(self, *, wait: bool = False) -> TeachingBody:
        """Return the session's state; `wait`: only after all examples are learnt."""
        return self._state("GET", wait="1" if wait else None)

    def show(self, label: str, recording: Path | bytes, name: str = "") -> TakenBody:
        """Add a recording's windows, or an image seen with small movements, as examples of a class.

        `recording` is a file or its bytes, then with a file `name`.
        """
        if isinstance(recording, Path):
            recording, name = recording.read_bytes(), recording.name
        path = self._path("/examples", **{"class": label, "name": name or None})
        return TakenBody.model_validate_json(self._ask("POST", path, recording, "application/octet-stream"))

    def picture(self, number: int) -> bytes:
        """Return an example's events as a PNG."""
        return self._ask("GET", self._path(f"/examples/{number}"))

    def drop(self, number: int) -> TeachingBody:
        """Remove an example."""
        return self._state("DELETE", f"/examples/{number}")

    def rename(self, label: str, to: str) -> TeachingBody:
        """Rename a class."""
        return self._state("PATCH", "/classes", **{"class": label, "to": to})

    def forget(self, label: str) -> TeachingBody:
        """Remove a class with its examples."""
        return self._state("DELETE", "/classes", **{"class": label})

    def save(self, name: str) -> TeachingBody:
        """Save the model on the service, which serves it to all clients."""
        return self._state("POST", "/save", name=name)

    def download(self, name: str = "taught") -> bytes:
        """Return the model's folder as a ZIP file."""
        return self._ask("GET", self._path("/model.zip", name=name))

    def end(self) -> None:
        """End the session; only saved models are kept."""
        self._ask("DELETE", self._path(""))

    def __enter__(self) -> "RemoteTeaching":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _state(self, method: str, below: str = "", **wanted: Any) -> TeachingBody:
        return TeachingBody.model_validate_json(self._ask(method, self._path(below, **wanted)))

    def _path(self, below: str, **wanted: Any) -> str:
        return f"/v1/teach/{self.id}{below}" + query(**wanted)


def query(**wanted: Any) -> str:
    """Return a URL's query string, leaving out parameters that are None."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


class ClientError(Exception):
    """A refusal, in the service's words. `status`: HTTP status or WebSocket close code; 0: no answer at all."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Activity:
    """Activity inside the network during one step, for a stream opened with `probe`."""

    input: NDArray[np.uint8]  # [H W]
    fired: NDArray[np.uint8]  # [F] packed bits, one a neuron: whether it fired
    membranes: NDArray[np.float32] | None  # [C] membrane potentials at the probed place


class StreamPrediction(StepBody):
    """The prediction after one step of a stream; `docs/service/http.md` describes the fields."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    seq: int
    t: float
    layer_spikes: list[int]
    total_spikes: int
    total_synops: int
    inside: Activity | None = None  # only if the stream was opened with `probe`
    queue_ms: float
    step_ms: float
    dropped: int
    reset: bool
    events_in: int = 0  # since the stream began
    events_kept: int = 0  # the part of events_in that passed the noise filter
    camera: str | None = None  # how this camera differs from the cameras of the model's training data


@dataclass(frozen=True)
class Ack:
    """Confirmation of a message that did not complete a bin, so that no prediction follows."""

    seq: int
    t: float
    dropped: int


@dataclass(frozen=True)
class Bad:
    """Report of a message that the service could not use; the stream stays open."""

    seq: int
    error: str


@dataclass(frozen=True)
class EventPicture:
    """A subsample of a message's events, for display: x, y and polarity (`on`)."""

    seq: int
    step: int
    width: int
    height: int
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    on: NDArray[np.bool_]


@dataclass(frozen=True)
class Ready:
    """Notice that a teaching session's stream now uses a newer model with these labels."""

    model: str
    labels: list[str]


Message = StreamPrediction | Ack | Bad | EventPicture | TeachingBody | Ready
KINDS: dict[str, type[StreamPrediction | Ack | Bad | TeachingBody | Ready]] = {
    "prediction": StreamPrediction, "ack": Ack, "error": Bad, "teaching": TeachingBody, "ready": Ready,
}  # fmt: skip


class Client:
    """A connection to one service. Methods raise ClientError when the service refuses or does not answer."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout_s: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http address")
        self.url, self.timeout_s, self._parts = url.rstrip("/"), timeout_s, parts
        self.authorization = {} if token is None else {"Authorization": f"Bearer {token}"}

    def models(self) -> ModelsBody:
        """Return the service's models, with labels and input contract."""
        return ModelsBody.model_validate_json(self._ask("GET", "/v1/models"))

    def remove(self, model: str) -> None:
        """Remove a model that was taught and saved on the service, with its folder."""
        self._ask("DELETE", f"/v1/models/{quote(model, safe='')}")

    def samples(self) -> list[SampleBody]:
        """Return the sample recordings that the service ships."""
        return [SampleBody(**entry) for entry in json.loads(self._ask("GET", "/samples"))]

    def cameras(self) -> list[CameraBody]:
        """Return the cameras and other event sources that the service itself opened."""
        return [CameraBody(**entry) for entry in json.loads(self._ask("GET", "/v1/cameras"))]

    def ready(self) -> bool:
        """Return whether the service accepts requests now."""
        try:
            return bool(json.loads(self._ask("GET", "/health/ready"))["ready"])
        except ClientError:
            return False

    def predict(
        self,
        sample: Path | str | bytes,
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
        """Classify an image or a recording: a file's path, or its bytes. `name` marks bytes of an N-MNIST .bin file."""
        if isinstance(sample, str | Path):
            sample, name = Path(sample).read_bytes(), Path(sample).name
        wanted = query(
            model=model, name=name or None, confidence=confidence, error_rate=error_rate, bin_ms=bin_ms,
            logits="1" if logits else None, steps="1" if steps else None, objects=objects or None,
        )  # fmt: skip
        body = self._ask("POST", f"/v1/predict{wanted}", sample, "application/octet-stream")
        return PredictBody.model_validate_json(body)

    def teach(self, features: str | None = None) -> RemoteTeaching:
        """Begin a teaching session; pass its `id` to `stream(teaching=...)`."""
        return RemoteTeaching(self._ask, features)

    def stream(self, **hello: Any) -> "Stream":
        """Open a live stream; the keywords are the fields of `spikesight.service.stream.messages.Hello`."""
        return Stream(self, hello)

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """Return the answer's body. A prediction that is lost on its way, as with a replica, is asked for once more."""
        headers = {"Content-Type": kind} if kind else {}
        status, data = self._ask_once(method, path, body, headers)
        if path.startswith("/v1/predict") and (status == 0 or (status >= 500 and error_sentence(data) is None)):
            status, data = self._ask_once(method, path, body, headers)  # a refusal of the service has its sentence
        if status == 0:
            raise ClientError(0, f"{self.url} does not answer")
        if status not in (200, 204):
            raise ClientError(status, error_sentence(data) or f"the service answered {status}")
        return data

    def _ask_once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body; 0 where the connection is lost. Raises ClientError at a timeout."""
        secure = self._parts.scheme == "https"
        connection = (HTTPSConnection if secure else HTTPConnection)(
            self._parts.hostname or "", self._parts.port, timeout=self.timeout_s
        )
        with closing(connection):
            try:
                connection.request(method, path, body, headers | self.authorization)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except TimeoutError as error:
                raise ClientError(0, f"{self.url} does not answer") from error
            except (OSError, HTTPException):
                return 0, b""


LOST = (1006, 1011, 1012)  # close codes of a stream whose replica or service has gone: another may take it
AGAIN_S = 5.0  # seconds in which a lost stream tries to connect again


class Stream:
    """A live stream: sends frames and event packets, receives messages. Used as a context manager.

    A stream that is lost with its replica connects again, for AGAIN_S at most, and goes on: with an untouched network,
    and without answers to what was on its way. `reconnects` counts how often.
    """

    def __init__(self, client: Client, hello: dict[str, Any]) -> None:
        self._client, self._hello, self._lock, self._closed = client, hello, Lock(), False
        self.seq = self.reconnects = 0
        self._socket, self.ready = self._open()

    def _open(self) -> tuple[ClientConnection, dict[str, Any]]:
        """Connect and say hello; return the connection and the service's first message. Raises ClientError."""
        client = self._client
        try:
            opened: ClientConnection = connect(
                "ws" + client.url.removeprefix("http") + "/v1/stream",
                additional_headers=client.authorization,
                compression=None,
                open_timeout=client.timeout_s,
                max_size=64 * 2**20,
                proxy=None,
            ).__enter__()
        except InvalidStatus as error:
            status, said = error.response.status_code, error_sentence(bytes(error.response.body or b""))
            raise ClientError(status, said or f"the service answered {status}") from None
        except (OSError, InvalidMessage) as error:
            raise ClientError(0, f"{client.url} does not answer") from error
        try:
            opened.send(json.dumps({"type": "hello", "protocol": 1, **self._hello}))
            return opened, json.loads(opened.recv(client.timeout_s))
        except ConnectionClosed as error:
            raise closed(error) from None
        except TimeoutError:
            opened.close()
            raise ClientError(0, f"{client.url} does not answer") from None

    def _open_again(self, lost: ClientConnection, error: ConnectionClosed) -> None:
        """Connect again, unless another thread has. Raises ClientError: why the stream was closed."""
        why, end = closed(error), time.monotonic() + AGAIN_S
        with self._lock:
            while self._socket is lost:
                if self._closed or why.status not in LOST or time.monotonic() > end:
                    raise why
                try:
                    self._socket, self.ready = self._open()
                    self.reconnects += 1
                except ClientError:
                    time.sleep(0.1)

    def send_events(self, events: NDArray, t_ms: float | None = None) -> int:
        """Send a packet of events, of this or another library (`as_events`); return its sequence number.

        Raises ValueError for times below 0 and for what are no events.
        """
        return self._frame(EVENTS_T64, pack(as_events(events), "t64"), t_ms)

    def send_image(self, data: bytes, t_ms: float | None = None) -> int:
        """Send a frame as JPEG, PNG or WebP bytes, captured at `t_ms` (None: now); return its sequence number."""
        return self._frame(IMAGE, data, t_ms)

    def reset(self) -> None:
        """Reset the membrane potentials of this stream."""
        self._send('{"type": "reset"}')

    def settings(self, threshold: float | None = None, noise_hz: float | None = None) -> None:
        """Set the pixel model that turns this stream's frames into events: contrast threshold and noise rate."""
        self._send(json.dumps({"type": "settings", "threshold": threshold, "noise_hz": noise_hz}))

    def probe(self, probe: bool | tuple[int, int, int]) -> None:
        """Switch `inside` in predictions on or off; [layer, row, column] adds the membrane potentials at that place."""
        self._send(json.dumps({"type": "probe", "probe": probe}))

    def show(self, label: str | None) -> None:
        """In a teaching session's stream, label all following steps as examples of this class; None stops labelling."""
        self._send(json.dumps({"type": "show", "class": label}))

    def receive(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Yield messages until none comes for `timeout_s`. Raises ClientError when the stream is closed."""
        while True:
            try:
                data = self._receive(timeout_s)
            except TimeoutError:
                return
            yield parse(data)

    def close(self) -> None:
        self._closed = True
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
        self._over(lambda socket: socket.send(message))

    def _receive(self, timeout_s: float | None) -> str | bytes:
        return self._over(lambda socket: socket.recv(timeout_s))

    def _over(self, call: Callable[[ClientConnection], Any]) -> Any:
        """Return what `call` returns for the connection, which is opened again as long as it is lost."""
        while True:
            socket = self._socket
            try:
                return call(socket)
            except ConnectionClosed as error:
                self._open_again(socket, error)


def error_sentence(body: bytes) -> str | None:
    """Return the sentence of a refusal's body; None if the body is something else."""
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None


def closed(error: ConnectionClosed) -> ClientError:
    """Return the error that says why the service closed the stream."""
    if error.rcvd is None:
        return ClientError(1006, "the connection was lost")
    return ClientError(error.rcvd.code, error.rcvd.reason or "the service closed the stream")


def parse(data: str | bytes) -> Message:
    """Parse a message of the service: JSON text, or the bytes of a EventPicture. Raises ClientError for an unknown
    type.
    """
    if isinstance(data, bytes):
        seq, step, n, width, height = PICTURE.unpack_from(data)
        pairs = np.frombuffer(data, "<u2", 2 * n, PICTURE.size).reshape(n, 2)
        return EventPicture(
            seq, step, width, height, pairs[:, 0], (pairs[:, 1] & 0x7FFF).astype(np.uint16), pairs[:, 1] >= 0x8000
        )
    body: dict[str, Any] = json.loads(data)
    kind = body.pop("type", None)
    if kind == "prediction":
        if (inside := body.get("inside")) is not None:
            shown, fired = (np.frombuffer(base64.b64decode(inside[name]), np.uint8) for name in ("input", "fired"))
            membranes = inside["membranes"]
            body["inside"] = Activity(shown, fired, None if membranes is None else np.array(membranes, np.float32))
    elif kind == "ready":
        body = {name: body[name] for name in ("model", "labels")}
    if kind not in KINDS:
        raise ClientError(0, f"unknown message {kind!r}")
    return KINDS[kind](**body)
