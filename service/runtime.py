"""What one running service holds: its models, pools, limits and whether it is shutting down."""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import cv2
import torch

from spikesight.encoders.recordings.files import formats
from spikesight.models.classifier import Classifier
from spikesight.models.contract import CheckpointError
from spikesight.models.native.memory import keep_membranes
from spikesight.models.native.threads import threads, use_threads
from spikesight.service.http.errors import Expired
from spikesight.service.http.logs import event, log
from spikesight.service.http.metrics import Metrics
from spikesight.service.http.shares import Line, Lobby, Shares
from spikesight.service.http.turns import Turns
from spikesight.service.scheduler import sandbox
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.processes import CALLS, Processes
from spikesight.service.scheduler.registry import Model, Registry
from spikesight.service.settings import Settings
from spikesight.version import __version__

T = TypeVar("T")


class Runtime:
    """Made with the app, started and stopped with it."""

    def __init__(self, settings: Settings, classifiers: tuple[Classifier, ...] = ()) -> None:
        keep_membranes()
        self.settings = settings
        self.metrics = Metrics()
        self.mailbox = Mailbox()
        self.registry = Registry(settings, self.metrics, self.mailbox)
        self.decoder = ThreadPoolExecutor(1, "decode")  # what would hold up the event loop, in order
        self.heavy = ThreadPoolExecutor(1, "heavy")  # what may take a second, so that small work never waits
        self.line = Line(CALLS, max(1, CALLS // 2))
        self.processes = Processes("spikesight.service.upload.decode", "spikesight.service.protocol_v2.tensors")
        self.draining = False
        self._loaded = False
        self.turns, self.decoder_turns = Turns(), Turns(time.perf_counter)  # of streams, in the loop and beside it
        self.lobby = Lobby(settings.max_greetings)
        self.streams = Shares(settings.max_sessions, settings.max_sessions_per_client)
        key = settings.snapshot_key
        self.snapshot_key = secrets.token_bytes(32) if key is None else key.get_secret_value().encode()
        self.version = __version__
        self._classifiers = classifiers

    async def start(self) -> None:
        """Load and warm up the models; take SIGHUP as the wish to load them again."""
        loop = asyncio.get_running_loop()
        self.mailbox.attach(loop)
        self.processes.start()
        if not sandbox.version():
            event("decoders not confined", reason="no Landlock here: what reads uploads may open this user's files")
        use_threads(self.settings.threads or threads())  # of the engine; those of the libraries spin
        torch.set_num_threads(self.settings.threads or 1)
        cv2.setNumThreads(1)  # waking a second for a small picture takes longer than the picture
        await asyncio.to_thread(self._load)
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such signal here
            loop.add_signal_handler(signal.SIGHUP, self.reload)
        self._loaded = True

    @property
    def ready(self) -> bool:
        """Whether what comes is answered in its time: models and decoders are warm, and the end has not begun."""
        return self._loaded and self.processes.ready and not self.draining

    def _load(self) -> None:
        formats()  # plug-ins are imported here, not under the first upload
        for classifier in self._classifiers:
            self.registry.serve(classifier)
        if not self._classifiers:
            self.registry.load()

    def reload(self) -> None:
        """Load the models from disk again, in the background; on failure the old ones stay."""

        def load() -> None:
            try:
                self.registry.load()
            except CheckpointError as error:
                event("models not reloaded", reason=str(error))
            except Exception:
                log.exception("models not reloaded")

        self.decoder.submit(load)

    async def stop(self) -> None:
        self.draining = True
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        await asyncio.to_thread(self.processes.stop)
        await asyncio.to_thread(self.registry.stop)
        for thread in (self.decoder, self.heavy):
            thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def decoding(self, client: str, deadline: float) -> AsyncIterator[None]:
        """A turn at the decoders, held until what was decoded is used up. Raises Expired, Overloaded."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self.line.take(client)
        except TimeoutError:
            raise Expired from None
        begin = time.monotonic()
        try:
            yield
        finally:
            self.line.give(client, time.monotonic() - begin)

    async def in_heavy_thread(self, work: Callable[[], T], deadline: float) -> T:
        """Run what may take long in a thread for such work. Raises Expired, and what `work` raises."""
        try:
            working = asyncio.get_running_loop().run_in_executor(self.heavy, work)
            return await asyncio.wait_for(working, max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise Expired from None

    def deadline(self, wanted_s: float | None = None) -> float:
        """When a request that arrives now must be answered, on time.monotonic(); the client can only shorten it."""
        limit = self.settings.deadline_s
        return time.monotonic() + (limit if wanted_s is None else min(limit, wanted_s))

    @contextmanager
    def admitted(self, model: Model, n: int = 1) -> Iterator[None]:
        """n requests in a model's queue. Raises Overloaded."""
        model.scheduler.admit(n)
        try:
            yield
        finally:
            model.scheduler.leave(n)

    def full(self) -> bool:
        return self.registry.full()

    def turned_away(self) -> None:
        """A request was refused before it was read."""
        self.metrics.refused.labels("busy").inc()
