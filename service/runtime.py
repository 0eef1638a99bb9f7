"""The state shared by all parts of a running service: models, worker pools, limits, and whether it is shutting down."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import cv2
import torch

from spikesight.encoders.recordings.files import formats
from spikesight.models.classifier import Classifier
from spikesight.models.native.memory import keep_membranes
from spikesight.models.native.threads import threads, use_threads
from spikesight.service.decoding import sandbox
from spikesight.service.decoding.processes import CALLS, DecoderProcesses
from spikesight.service.http.connections import ConnectionLimiter
from spikesight.service.http.errors import Overloaded, before
from spikesight.service.http.logs import event
from spikesight.service.http.metrics import Metrics
from spikesight.service.http.shares import FairQueue, Quota, share
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.served.registry import Registry, ServedModel
from spikesight.service.settings import Settings
from spikesight.version import __version__

T = TypeVar("T")


class Runtime:
    """Models, decoders, limits and metrics of one service; created, started and stopped with the app."""

    def __init__(self, settings: Settings, classifiers: tuple[Classifier, ...] = ()) -> None:
        keep_membranes()
        self.settings = settings
        self.metrics = Metrics()
        self.mailbox = Mailbox()
        self.registry = Registry(settings, self.metrics, self.mailbox)
        self.decoder = ThreadPoolExecutor(1, "decode")  # short work that would block the event loop, in order
        self.heavy = ThreadPoolExecutor(1, "heavy")  # work that may take a second: `decoder` never waits for it
        self.decoder_queue = FairQueue(CALLS, max(1, CALLS // 2))
        self.processes = DecoderProcesses()
        self.held = Counter[str]()  # places in the models' queues, by model and client
        self.draining = False
        self._loaded = False
        self.turn = asyncio.Lock()  # held by the stream that works in the event loop: they take turns
        self.connections = ConnectionLimiter(settings)
        self.streams = Quota(settings.max_sessions, share(settings.max_sessions, 3 / 4))
        self.version = __version__
        self._classifiers = classifiers

    async def start(self) -> None:
        """Load and warm up the models."""
        self.mailbox.attach(asyncio.get_running_loop())
        self.processes.start()
        if not sandbox.version():
            event("decoders not confined", reason="no Landlock here: what reads uploads may open this user's files")
        use_threads(self.settings.threads or threads())  # the engine's; threads of OpenCV and PyTorch busy-wait
        torch.set_num_threads(self.settings.threads or 1)
        cv2.setNumThreads(1)  # waking a second thread takes longer than processing a small picture
        await asyncio.to_thread(self._load)
        self._loaded = True

    @property
    def ready(self) -> bool:
        """Whether requests are answered in time: models and decoders are warm, and shutdown has not begun."""
        return self._loaded and self.processes.ready and not self.draining

    def _load(self) -> None:
        formats()  # imports the plug-ins now, so that the first upload does not wait for that
        for classifier in self._classifiers:
            self.registry.add(classifier)
        if not self._classifiers:
            self.registry.load()

    async def stop(self) -> None:
        self.draining = True
        await asyncio.to_thread(self.processes.stop)
        await asyncio.to_thread(self.registry.stop)
        for thread in (self.decoder, self.heavy):
            thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def decoding(self, client: str, deadline: float) -> AsyncIterator[None]:
        """Wait for a free decoder process and hold it until the `async with` block ends. Raises Expired, Overloaded."""
        await before(deadline, self.decoder_queue.acquire(client))
        try:
            yield
        finally:
            self.decoder_queue.release(client)

    async def in_heavy_thread(self, work: Callable[[], T], deadline: float) -> T:
        """Run slow work in the thread reserved for it. Raises Expired, and whatever `work` raises."""
        return await before(deadline, asyncio.get_running_loop().run_in_executor(self.heavy, work))

    def deadline(self) -> float:
        """Return a new request's deadline on time.monotonic()."""
        return time.monotonic() + self.settings.deadline_s

    @contextmanager
    def admitted(self, model: ServedModel, n: int = 1, client: str = "") -> Iterator[None]:
        """Occupy n places in a model's request queue while the `with` block runs; one address gets three quarters.

        Raises Overloaded.
        """
        holder = f"{model.name} {client}"
        if self.held[holder] + n > share(self.settings.max_queue, 3 / 4) and self.held[holder]:
            raise Overloaded
        model.scheduler.admit(n)
        self.held[holder] += n
        try:
            yield
        finally:
            model.scheduler.finish(n)
            self.held[holder] -= n
            if not self.held[holder]:
                del self.held[holder]
