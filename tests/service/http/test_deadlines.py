"""A sender that is late: told so, unless an answer is already on its way, which can only be cut off."""

from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.http.connection import DeadlineProtocol


@pytest.mark.parametrize(
    ("started", "complete", "done"),
    [(None, None, [408]), (False, False, [408]), (True, False, ["abort"]), (True, True, [408])],
)
def test_who_is_late(started: bool | None, complete: bool | None, done: list[Any]) -> None:
    made, did = DeadlineProtocol.__new__(DeadlineProtocol), list[Any]()
    made.cycle = (  # type: ignore[assignment]
        None if started is None else SimpleNamespace(response_started=started, response_complete=complete)
    )
    made.transport = SimpleNamespace(abort=lambda: did.append("abort"))  # type: ignore[assignment]
    made._refuse = did.append  # type: ignore[method-assign]
    made._deadline = object()  # type: ignore[assignment]
    made._late()
    assert did == done
    assert made._deadline is None
