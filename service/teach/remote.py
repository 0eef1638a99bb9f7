"""Client of a teaching session; `spikesight.service.client.Client.teach` begins one."""

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from spikesight.service.teach.bodies import TakenBody, TeachingBody


class Ask(Protocol):
    """A function that sends a request: method, path, body and the body's media type."""

    def __call__(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes: ...


class RemoteTeaching:
    """A teaching session on a service; a context manager that ends it. Methods raise ClientError.

    teaching.show("cup", Path("cup.aedat4"))
    teaching.show("phone", Path("phone.aedat4"))
    print(teaching.state(wait=True).advice)
    Path("things.zip").write_bytes(teaching.download("things"))
    """

    def __init__(self, ask: Ask, features: str | None = None) -> None:
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
