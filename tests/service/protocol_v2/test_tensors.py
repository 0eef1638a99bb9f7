"""The v2 body parser against anything: a request or V2Error, never another exception."""

import contextlib
import json

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.protocol_v2.tensors import Output, Spec, V2Error, answer, parse

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
