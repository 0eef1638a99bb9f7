"""Route a request at the proxy: its path, and the sequence that an inference request belongs to.

The sequence's id is in the `parameters` of a JSON document that may be large, and the proxy has one event loop for all
clients. So the document is not parsed, but scanned from bracket to bracket in a thread, in short searches, and only its
parameters are read. The replica reports errors in it.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from spikesight.service.http.errors import ServiceError
from spikesight.service.protocol_v2.endpoints import STEPS
from spikesight.service.protocol_v2.infer import INLINE_BYTES, SequenceWish, sequence_of
from spikesight.service.protocol_v2.tensors import V2Error

WINDOW = 2**16  # bytes of one search, which holds the interpreter's lock
MOST_MARKS = 2**20  # most brackets and strings of a document
MOST_PARAMETERS = 2**16  # bytes
MARK, IN_STRING, COLON = re.compile(rb'["\[\]{}]'), re.compile(rb'["\\]'), re.compile(rb"\s{0,64}:")
LONGEST_KEY = len('"parameters"') * len(r"\u0000")


def target(scope: dict[str, Any] | Any) -> str:
    """Return the request's path and query as they were sent."""
    path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"/{path.lstrip('/')}" + (f"?{query}" if query else "")


async def sequence_wish(path: str, body: bytes, headers: dict[str, str]) -> tuple[str, SequenceWish] | None:
    """Return the model and sequence of an inference request; None if it has none or is malformed.

    Raises ServiceError 413 if the parameters cannot be found with bounded work.
    """
    parts = unquote(path).split("/")
    if not path.endswith("/infer") or len(parts) < 4 or not parts[3].endswith(STEPS):
        return None
    try:
        length = int(headers.get("inference-header-content-length", len(body)))
        document = body[:length]
        if b'"sequence_id"' not in document and b"\\u" not in document:
            return None
        if len(document) > INLINE_BYTES:
            document = await asyncio.to_thread(parameters_alone, document)
        wish = sequence_of(json.loads(document).get("parameters", {}))
    except (ValueError, AttributeError, RecursionError, V2Error):
        return None
    return None if wish is None else (parts[3], wish)


def parameters_alone(document: bytes) -> bytes:
    """Reduce a JSON document to its top-level parameters. Raises ServiceError 413.

    >>> parameters_alone(b'{"inputs": [{"parameters": {"a": 1}}], "parameters": {"sequence_id": 5}}')
    b'{"parameters":{"sequence_id": 5}}'
    """
    depth, found, value_at = 0, b"{}", -1
    named = False  # whether the last mark was the key "parameters"
    for n, (at, end) in enumerate(marks(document)):
        if n == MOST_MARKS:
            raise ServiceError(413, "too many lists to find the sequence among them: send the tensors as binary")
        mark = document[at]
        if mark in b"[{":
            if named:
                value_at = at
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 1 and value_at >= 0:
                if end - value_at > MOST_PARAMETERS:
                    raise ServiceError(413, "the parameters of the request are too large")
                found, value_at = document[value_at:end], -1  # the last of several wins, as in any parser
        named = mark == ord('"') and depth == 1 and is_parameters(document[at : min(end, at + LONGEST_KEY + 1)])
        named = named and COLON.match(document, end) is not None
    return b'{"parameters":' + found + b"}"


def is_parameters(text: bytes) -> bool:
    """Return whether a JSON string, which may use escapes, is the key "parameters"."""
    try:
        return json.loads(text) == "parameters"
    except ValueError:
        return False


def marks(document: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every bracket and every complete string, in order."""
    at, begin = 0, -1  # position; begin of the open string, -1 outside strings
    while at < len(document):
        match = (MARK if begin < 0 else IN_STRING).search(document, at, at + WINDOW)
        if match is None:
            at += WINDOW
            continue
        at = match.end()
        if document[match.start()] == ord("\\"):
            at += 1
        elif document[match.start()] != ord('"'):
            yield match.start(), at
        elif begin < 0:
            begin = match.start()
        else:
            yield begin, at
            begin = -1
