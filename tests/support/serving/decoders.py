"""One warm process for files that the services of all tests share, for it costs two seconds of the processor."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from spikesight.service import runtime
from spikesight.service.scheduler.processes import Processes


@contextmanager
def shared() -> Iterator[None]:
    """Begun with the first service, ended with the last test; test_processes.py has its own."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as ended:

        @cache
        def kept(*modules: str) -> Processes:
            processes = Processes(*modules, "tests.support.processes")  # imported before no file can be opened
            processes.start()
            ended.callback(processes.stop)
            for name in ("start", "stop"):
                patch.setattr(processes, name, lambda: None)
            return processes

        patch.setattr(runtime, "Processes", kept)
        yield
