"""The v2 body parser against anything: a request or V2Error, never another exception; what is sent is what is read."""

import json
from contextlib import suppress

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spikesight.service.protocol_v2.tensors import Spec, V2Error, parse

SPECS = (Spec("x", "FP32", (-1, 2)),)
IMAGE = (Spec("image", "BYTES", (-1,)),)
NAMES = ["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "id"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)
HEADERS = st.none() | st.integers(-5, 300).map(str) | st.text(max_size=5)


@hypothesis_settings(max_examples=300)
@given(document=JSON.map(lambda it: json.dumps(it).encode()) | st.binary(), tail=st.binary(max_size=40), header=HEADERS)
def test_anything(document: bytes, tail: bytes, header: str | None) -> None:
    for length in (header, str(len(document))):
        for specs in (SPECS, IMAGE):
            with suppress(V2Error):
                parse(document + tail, length, specs)


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
