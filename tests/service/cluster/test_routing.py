"""The sequence of a request is found in a document of any size and shape, as a parser of all of it would find it."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.service.cluster import routing
from spikesight.service.cluster.routing import parameters_alone, sequence_wish
from spikesight.service.protocol_v2.infer import SequenceWish
from tests.support.serving.http import refused

PATH = "/v2/models/a.steps/versions/1/infer"
TEXT = st.text(max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("parameters"), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)


def wish(body: bytes, headers: dict[str, str] | None = None) -> SequenceWish | None:
    found = asyncio.run(sequence_wish(PATH, body, headers or {}))
    assert found is None or found[0] == "a.steps"
    return None if found is None else found[1]


@settings(deadline=None, max_examples=60)
@given(OBJECTS, OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_the_parameters_are_those_of_the_whole_document(
    document: dict[str, Any], parameters: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    document = {**document, "parameters": parameters, "inputs": [{"parameters": {"no": 1}}, '"parameters":{']}
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert json.loads(parameters_alone(text)) == {"parameters": parameters}


@pytest.mark.parametrize("window", [1, 3, 2**16])
@pytest.mark.parametrize("key", ["parameters", r"p\u0061rameters"])
def test_a_large_document_is_read_as_a_small_one(monkeypatch: pytest.MonkeyPatch, window: int, key: str) -> None:
    head = f'{{"id": "a \\" }} ] \\\\", "{key}" : {{"sequence_id": "x]\\"", "sequence_start": true}}, "inputs": ['
    small, large = (f"{head}{'[1.5, 2],' * n}0]}}".encode() for n in (1, 3000))
    monkeypatch.setattr(routing, "WINDOW", window)
    assert wish(small) == wish(large) == SequenceWish('x]"', True, False)
    length = {"inference-header-content-length": str(len(large))}
    assert wish(large + b"\0\1" * 9, length) == wish(large)


@pytest.mark.parametrize(
    "text", [b'{"sequence_id"', b"[" * 100_000 + b'"sequence_id"', b'{"a":' * 99_999 + b"\\u", b'"\\']
)
def test_what_is_no_request_is_the_replicas_to_refuse(text: bytes) -> None:
    assert wish(text) is None


def test_a_key_may_be_spelled_in_any_way() -> None:
    assert wish(rb'{"parameters": {"sequence\u005fid": 5}}') == SequenceWish(5, False, False)


SEQUENCE = b'{"parameters": {"sequence_id": 5, "sequence_end": true}}'


@pytest.mark.parametrize(
    ("path", "body", "there"),
    [
        ("/v2/models/a.steps/infer", SEQUENCE, True),
        ("/v2/models/a%2esteps/infer", SEQUENCE, True),
        ("/v2/models/a.steps/infer/", SEQUENCE, False),
        ("/models/a.steps/infer", SEQUENCE, False),
        ("/infer", SEQUENCE, False),
        ("/v2/models/a/infer", SEQUENCE, False),
        (PATH, b'{"parameters": {"sequence": 5}}', False),
        (PATH, b'{"parameters": {"sequence_id": 0}}', False),
        (PATH, b'["sequence_id"]', False),
        (PATH, b'{"x": "sequence_id"}', False),
    ],
)
def test_which_requests_are_of_a_sequence(path: str, body: bytes, there: bool) -> None:
    found = asyncio.run(sequence_wish(path, body, {}))
    assert found == (("a.steps", SequenceWish(5, False, True)) if there else None)
    for length, same in ((str(len(body)), found), ("x", None)):
        assert asyncio.run(sequence_wish(path, body + b"raw", {"inference-header-content-length": length})) == same


def test_a_large_document_is_not_given_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser of JSON lets no other thread run: sixteen megabytes stopped every stream for half a second."""
    parsed: list[int] = []
    parse = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(len(text)) or parse(text))
    body = b'{"sequence_id": 1, "parameters": {"sequence_id": 9}, "inputs": [' + b"1," * 2**20 + b"1]}"
    assert wish(body) == SequenceWish(9, False, False)
    assert sum(parsed) < 1000


@pytest.mark.attack("load", "JSON of a sequence with endless lists or parameters (`--cluster`)", "413")
@pytest.mark.parametrize(
    "text", ['{"sequence_id":1,"a":' + "[" * 5000, '{"parameters": {"sequence_id": 1, "a": "' + "x" * 70_000 + '"}}']
)
def test_what_takes_too_long_to_look_through_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(routing, "MOST_MARKS", 4000)
    assert refused(wish, text.encode() + b" " * 20_000)[0] == 413
