"""Refusals for people: whoever opens an address in a browser gets a page, where programs get JSON."""

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
    """Whether a browser asks on behalf of a person: programs and scripts ask for anything, or for JSON."""
    return "text/html" in headers.get("accept", "")


def page(status: int, sentence: str) -> bytes:
    """A page that says one sentence.

    >>> b"<h1>Not Found</h1>\\n<p>There is nothing at this path.</p>" in page(404, "there is nothing at this path")
    True
    """
    title = HTTPStatus(status).phrase
    return PAGE.format(title=title, sentence=escape(sentence[:1].upper() + sentence[1:])).encode()


class ForPeople:
    """A request's `send` that turns `{"error": sentence}` into a page; other answers go through as they are."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of a refusal, until its body is whole
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
        sentence = sentence_of(self._body)
        if sentence is not None:
            self._body = page(start["status"], sentence)
            kept = [pair for pair in start["headers"] if pair[0] not in (b"content-type", b"content-length")]
            start["headers"] = [*kept, HTML, (b"content-length", str(len(self._body)).encode())]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body})


def sentence_of(body: bytes) -> str | None:
    """What a refusal says; None where the body is something else."""
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
