"""HTML pages for refusals: a person who opens an address in a browser gets a page, a program gets JSON."""

import json
from html import escape
from http import HTTPStatus

from starlette.types import Message, Send

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} - Spikesight</title>
<link rel="stylesheet" href="/shared/style.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>{sentence}.</p>
<p><a href="/">Open Spikesight</a></p>
</main>
</body>
</html>
"""
HTML = (b"content-type", b"text/html; charset=utf-8")


def wants_page(headers: dict[str, str]) -> bool:
    """Return whether the request comes from a browser's address bar: programs do not accept text/html by name."""
    return "text/html" in headers.get("accept", "")


def page(status: int, sentence: str) -> bytes:
    """Return an HTML page with a status and one sentence.

    >>> b"<h1>Not Found</h1>\\n<p>There is nothing at this path.</p>" in page(404, "there is nothing at this path")
    True
    """
    title = HTTPStatus(status).phrase
    return PAGE.format(title=title, sentence=escape(sentence[:1].upper() + sentence[1:])).encode()


class ErrorPages:
    """A request's `send` that turns `{"error": sentence}` into an HTML page and passes other answers on unchanged."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # first message of a refusal, kept until the body is complete
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        sentence = error_sentence(self._body)
        if sentence is not None:
            self._body = page(start["status"], sentence)
            kept = [pair for pair in start["headers"] if pair[0] not in (b"content-type", b"content-length")]
            start["headers"] = [*kept, HTML, (b"content-length", str(len(self._body)).encode())]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body})


def error_sentence(body: bytes) -> str | None:
    """Return the sentence of a refusal's body; None if the body is something else."""
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
