"""The v2 body parser against anything: a request or V2Error, never another exception."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spikesight.service.protocol_v2.tensors import (
    MAX_DIMS,
    MAX_INPUTS,
    Output,
    Spec,
    V2Error,
    Wish,
    answer,
    classified,
    is_length,
    parse,
    select,
    shape_of,
    wishes_of,
)

SPECS = (Spec("x", "FP32", (-1, 2)),)
IMAGE = (Spec("image", "BYTES", (-1,)),)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "id"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
HEADERS = st.none() | st.integers(-5, 300).map(str) | st.text(max_size=5)


@hypothesis_settings(max_examples=150)
@given(document=JSON, tail=st.binary(max_size=40), header=HEADERS, exact=st.booleans(), image=st.booleans())
def test_any_document(document: object, tail: bytes, header: str | None, exact: bool, image: bool) -> None:
    head = json.dumps(document).encode()
    with contextlib.suppress(V2Error):
        parse(head + tail, str(len(head)) if exact else header, IMAGE if image else SPECS)


@hypothesis_settings(max_examples=200)
@given(body=st.binary(max_size=200), header=HEADERS)
def test_any_bytes(body: bytes, header: str | None) -> None:
    for specs in (SPECS, IMAGE):
        try:
            parse(body, header, specs)
        except V2Error:
            continue


@hypothesis_settings(max_examples=60)
@given(rows=st.integers(0, 5), binary=st.booleans(), data=st.data())
def test_what_is_sent_is_what_is_read(rows: int, binary: bool, data: st.DataObject) -> None:
    floats = st.floats(-1024, 1024, width=32)
    x = np.array(data.draw(st.lists(floats, min_size=2 * rows, max_size=2 * rows)), "<f4").reshape(rows, 2)
    entry: dict = {"name": "x", "datatype": "FP32", "shape": [rows, 2]}
    entry |= {"parameters": {"binary_data_size": x.nbytes}} if binary else {"data": x.tolist()}
    head = json.dumps({"inputs": [entry]}).encode()
    request = parse(head + (x.tobytes() if binary else b""), str(len(head)) if binary else None, SPECS)
    assert np.array_equal(request.inputs["x"], x)


def test_answers_may_mix_json_and_binary() -> None:
    value = np.array([[1.5, 2.5]], np.float32)
    outputs = [
        Output("a", "FP32", (1, 2), value, True),
        Output("b", "BYTES", (1,), [b"hi"]),
        Output("c", "BYTES", (1,), [b"yo"], True),
    ]
    body, length = answer("m", outputs, None)
    assert length is not None
    document = json.loads(body[:length])
    assert document["outputs"][1]["data"] == ["hi"]
    assert body[length:] == value.tobytes() + b"\2\0\0\0yo"


ENTRY: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}


def asked(entry: dict[str, Any] | None = None, tail: bytes = b"", **document: Any) -> bytes:
    return json.dumps({"inputs": [{**ENTRY, **(entry or {})}], **document}).encode() + tail


def nested(depth: int) -> Any:
    return [1, 2] if depth == 1 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "body",
    [
        asked(), asked({"data": [[1, 2.5]]}), asked({"data": nested(MAX_DIMS + 1)}), asked(id="i" * 1024),
        asked({"shape": [0, 2], "data": []}), asked(parameters={"binary_data_output": True}),
    ],
)  # fmt: skip
def test_what_is_just_allowed(body: bytes) -> None:
    assert list(parse(body, None, SPECS).inputs) == ["x"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "must be a JSON object"), (b"{", "is not JSON"), (asked({"data": [float("nan"), 1]}), "NaN"),
        (b'{"inputs": []}', "at least one input"), (b'{"inputs": [1]}', "must be an object"),
        (json.dumps({"inputs": [ENTRY] * (MAX_INPUTS + 1)}).encode(), "at least one input"),
        (json.dumps({"inputs": [ENTRY] * 2}).encode(), "unknown or repeated input; this model takes x"),
        (asked({"name": "y"}), "unknown or repeated"), (asked({"name": 1}), "unknown or repeated"),
        (asked({"datatype": "FP64"}), "is of datatype FP32"), (asked({"shape": [1, 3]}), "must have the shape"),
        (asked({"shape": [2]}), "must have the shape"), (asked({"data": [1]}), "does not match the data"),
        (asked({"data": [1, 2, 3]}), "does not match the data"), (asked({"data": [True, 1]}), "must hold numbers"),
        (asked({"data": [10**400, 1]}), "too large"), (asked({"data": nested(MAX_DIMS + 2)}), "too deeply"),
        (asked({"data": None}), "has no data"), (asked({"parameters": 1}), "must be an object"),
        (asked({"parameters": {"shared_memory_region": "a"}}), "shared memory is not offered"),
        (asked({"parameters": {"binary_data_size": 0}}), "either data or"),
        (asked({"parameters": {"binary_data_size": 1}}), "does not fit the body"),
        (asked({"parameters": {"binary_data_size": -1}}), "does not fit the body"),
        (asked({"parameters": {"binary_data_size": False}}), "does not fit the body"),
        (asked(id="i" * 1025), "at most 1024 characters"), (asked(id=1), "at most 1024 characters"),
        (asked(parameters={"binary_data_output": 1}), "must be true or false"),
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_one_sentence(body: bytes, words: str) -> None:
    with pytest.raises(V2Error, match=words) as caught:
        parse(body, None, SPECS)
    assert caught.value.status == 400


def test_lengths_of_the_json_part() -> None:
    raw = np.array([[1.5, 2.5]], "<f4").tobytes()
    head = {**{key: ENTRY[key] for key in ("name", "datatype", "shape")}, "parameters": {"binary_data_size": 8}}
    data = json.dumps({"inputs": [head]}).encode()
    found = parse(data + raw, str(len(data)), SPECS)
    assert np.array_equal(found.inputs["x"], [[1.5, 2.5]])
    for body, length, words in (
        (data + raw + b"x", len(data), "left over"),
        (data + raw[:7], len(data), "does not fit the body"),
        (data, len(data) + 1, "larger than the body"),
        (data, -1, "must be a number of bytes"),
    ):
        with pytest.raises(V2Error, match=words):
            parse(body, str(length), SPECS)
    assert parse(b"picture", "0", IMAGE).inputs == {"image": [b"picture"]}
    with pytest.raises(V2Error, match="only input is BYTES"):
        parse(b"picture", "0", SPECS)
    assert (is_length("9" * 11), is_length("9" * 12), is_length("\u0661"), is_length("")) == (True, False, False, False)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\2\0\0\0hi", ""), (b"\2\0\0", "cut off"), (b"\3\0\0\0hi", "does not match"),
        (b"", "does not match"), (b"\0\0\0\0\0\0\0\0", "does not match"), (b"\0\0\0\0", ""),
    ],
)  # fmt: skip
def test_elements_have_a_length_in_front(data: bytes, words: str) -> None:
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [entry]}).encode()
    if words:
        with pytest.raises(V2Error, match=words):
            parse(head + data, str(len(head)), IMAGE)
    else:
        assert parse(head + data, str(len(head)), IMAGE).inputs == {"image": [data[4:]]}


def test_shapes_have_a_most() -> None:
    assert shape_of([0, 2**31 - 1] + [1] * (MAX_DIMS - 2)) == (0, 2**31 - 1, *[1] * (MAX_DIMS - 2))
    for wrong in ([1] * (MAX_DIMS + 1), [-1], [2**31], [True], [1.0], "1", None):
        with pytest.raises(V2Error, match="'shape'"):
            shape_of(wrong)


def test_wishes_for_outputs() -> None:
    assert wishes_of(None, True) == ()
    wished = [
        {"name": "a"},
        {"name": "b", "parameters": {"binary_data": False}},
        {"name": "c", "parameters": {"classification": 1}},
    ]
    assert wishes_of(wished, True) == (Wish("a", True), Wish("b", False), Wish("c", True, 1))
    assert len(wishes_of([{"name": "a"}] * MAX_INPUTS, False)) == MAX_INPUTS
    for wrong, words in (
        ("a", "must be a list"), ([{"name": "a"}] * (MAX_INPUTS + 1), "must be a list"), ([1], "object with a name"),
        ([{"name": 1}], "object with a name"), ([{"name": "a", "parameters": {"binary_data": 1}}], "true or false"),
        *(([{"name": "a", "parameters": {"classification": n}}], "1 or more") for n in (0, -1, True, "1")),
    ):  # fmt: skip
        with pytest.raises(V2Error, match=words):
            wishes_of(wrong, False)


def test_the_highest_values_are_named() -> None:
    output = Output("p", "FP32", (2, 3), np.array([[0.25, 0.5, 0.25], [0.0, 1.0, 2.0]], np.float32))
    best = classified(output, 2, ("a", "b", "c"))
    assert (best.datatype, best.shape) == ("BYTES", (2, 2))
    assert best.value == [b"0.500000:1:b", b"0.250000:0:a", b"2.000000:2:c", b"1.000000:1:b"]
    assert classified(output, 9, ("a", "b", "c")).shape == (2, 3)
    with pytest.raises(V2Error, match="cannot be classified"):
        classified(Output("p", "FP32", (3,), np.zeros(3)), 1, ())
    request = parse(asked(outputs=[{"name": "p"}, {"name": "p", "parameters": {"classification": 1}}]), None, SPECS)
    plain, first = select(request, {"p": output}, ("a", "b", "c"))
    assert (plain.value is output.value, first.value) == (True, [b"0.500000:1:b", b"2.000000:2:c"])
    with pytest.raises(V2Error, match="unknown output; this model gives q"):
        select(request, {"q": output}, ())
    everything = select(parse(asked(parameters={"binary_data_output": True}), None, SPECS), {"p": output}, ())
    assert [(one.name, one.binary) for one in everything] == [("p", True)]
