"""What is small is done at once, what is large beside the event loop, and what holds Python in a process of its own."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from encoders.events import MAX_SIDE
from service.protocol_v2 import infer
from service.stream.messages import EVENTS_T64, IMAGE, Ended, Frame
from service.stream.protocol import slow, window_of
from service.upload import predict


@pytest.mark.parametrize(
    ("length", "header", "where"),
    [
        (infer.INLINE_BYTES, None, "here"),
        (infer.INLINE_BYTES + 1, None, "process"),
        (infer.INLINE_BYTES + 1, str(infer.INLINE_BYTES), "thread"),
        (infer.INLINE_BYTES + 1, str(infer.INLINE_BYTES + 1), "process"),
        (infer.INLINE_BYTES + 1, "no length", "process"),
        (infer.INLINE_BYTES, "99999999", "here"),
    ],
)
def test_where_a_request_is_parsed(
    length: int, header: str | None, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(infer.tensors, "parse", lambda *_: SimpleNamespace(wishes=()))

    async def in_thread(work: Any) -> Any:
        asked.append("thread")
        return work()

    async def in_process(work: Any, *given: Any, deadline: float) -> Any:
        asked.append("process")
        assert deadline == 7.5
        return work(*given)

    runtime: Any = SimpleNamespace(in_thread=in_thread, processes=SimpleNamespace(run=in_process), deadline=lambda: 7.5)
    found: Any = SimpleNamespace(inputs=(), outputs=())
    asyncio.run(infer.understand(runtime, bytes(length), header, found))
    assert asked == ([] if where == "here" else [where])


@pytest.mark.parametrize(("length", "threads"), [(65_536, 0), (65_537, 1)])
def test_where_a_form_is_read(length: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []

    async def to_thread(work: Any, *given: Any) -> Any:
        used.append(work)
        return work(*given)

    async def body() -> bytes:
        return bytes(length)

    monkeypatch.setattr(predict, "asyncio", SimpleNamespace(to_thread=to_thread))
    monkeypatch.setattr(predict, "file_of", lambda kind, data: (data, kind))
    request: Any = SimpleNamespace(headers={"content-type": "multipart/form-data; boundary=x"}, body=body)
    data, _ = asyncio.run(predict.read_body(request))
    assert (len(data), len(used)) == (length, threads)


@pytest.mark.parametrize(
    ("kind", "length", "expected"), [(IMAGE, 0, True), (EVENTS_T64, 65_536, False), (EVENTS_T64, 65_537, True)]
)
def test_which_messages_may_take_long(kind: int, length: int, expected: bool) -> None:
    assert slow(Frame(1, 0.0, kind, bytes(length))) == expected


@pytest.mark.parametrize(
    ("window", "good"),
    [
        ((MAX_SIDE, -MAX_SIDE, 1), True), ((0, 0, MAX_SIDE), True), ((0, 0, 0.99), False),
        ((MAX_SIDE + 0.5, 0, 5), False), ((0, -MAX_SIDE - 0.5, 5), False), ((0, 0, MAX_SIDE + 1), False),
    ],
)  # fmt: skip
def test_windows_that_a_user_may_set(window: tuple[float, float, float], good: bool) -> None:
    hello: Any = SimpleNamespace(window=window)
    if good:
        found = window_of(hello)
        assert found is not None
        assert (found.left, found.top, found.side) == window
    else:
        with pytest.raises(Ended):
            window_of(hello)
    assert window_of(SimpleNamespace(window=None)) is None  # type: ignore[arg-type]
