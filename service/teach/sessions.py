"""Teaching sessions: begun within limits, found by their secret ids, ended when unused for long; their newest heads."""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.shipped import START
from spikesight.models.teach.advice import report
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner, backbone, gives_features
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.logs import log
from spikesight.service.http.shares import OneByOne, Quota
from spikesight.service.runtime import Runtime
from spikesight.service.served.registry import ServedModel
from spikesight.service.teach.bodies import TaughtClass, TeachingBody
from spikesight.service.teach.examples import BIN_US, SENSOR, STEPS, Examples
from spikesight.service.teach.saving import SavedHead, SavedModels

FEW, SHARE = 3, 20  # a new head is learnt after FEW new examples, or 1 / SHARE of all if that is more
NOT_READY = "the session has no model yet: show examples of at least two classes"
NOT_YET = {"accuracy": None, "advice": ["show examples of at least two classes"]}
UNFIT = "that model cannot give features: name a spiking network that takes events"
TOO_MANY = "too many teaching sessions of this address: end one first"
UNKNOWN = "no teaching session of that id: begin one with POST /v1/teach; they end when they are not used for long"


class Learner:
    """Learns heads from `examples` in the teaching thread, one after another.

    `make` returns a head (None for fewer than two classes) and its model. `serve` is called with each new model,
    `notify` when examples change and when a head is ready.
    """

    def __init__(
        self,
        examples: Examples,
        make: Callable[[list[EmbeddedExample], list[str]], tuple[SavedHead | None, ServedModel]],
        turns: OneByOne,
        serve: Callable[[ServedModel], None],
        notify: Callable[[], None],
    ) -> None:
        self._examples, self._make, self._turns, self._serve, self._notify = examples, make, turns, serve, notify
        self.version = 0
        self.head, self.model = make([], [])
        self._new = 0  # examples added since the last head was begun
        self._due = self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def learning(self) -> bool:
        """Whether a new head is being learnt."""
        return self._task is not None

    def update(self, added: int | None = None) -> None:
        """Learn a new head if enough examples were added, or at once if they changed otherwise (`added` is None)."""
        self._new += added or 0
        self._due |= added is None or self._new >= max(FEW, len(self._examples.all()) // SHARE)
        if self._due and self._task is None and not self._closed:
            self._task = asyncio.create_task(self._learn())
        self._notify()

    async def settled(self) -> None:
        """Learn from all new examples, those on their way too, and wait until the head is served."""
        await self._examples.arrived()
        if self._new:
            self.update()
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _learn(self) -> None:
        try:
            while self._due and not self._closed:
                self._due, self._new = False, 0
                examples = self._examples.all()
                recordings = self._examples.recordings(examples)
                head, model = await self._turns.run(lambda given=(examples, recordings): self._make(*given))
                if not self._closed:
                    self.head, self.model, self.version = head, model, self.version + 1
                    self._serve(model)
        except Exception:
            log.exception("a head was not learnt")
        finally:
            self._task = None
            self._notify()

    def ready(self) -> SavedHead:
        """Return the newest head. Raises ServiceError 409 before there is one."""
        if self.head is None:
            raise ServiceError(409, NOT_READY)
        return self.head

    def close(self) -> None:
        self._closed = True


class TeachingSession:
    """A client's teaching session on the network of `features` (None: START); created in the teaching thread, used in
    the loop.

    `used`: when it was last taught, asked for or stepped, on time.monotonic(). `followers` are called with the state at
    every change, and with None at the end.
    """

    def __init__(self, identity: str, features: ServedModel | None, runtime: Runtime, turns: OneByOne) -> None:
        network = features.classifier.network if features else backbone(START)
        assert isinstance(network, SpikingResNet)
        self.id, self.features, self.used = identity, features.name if features else START, time.monotonic()
        self.followers: set[Callable[[TeachingBody | None], None]] = set()
        self.saved: str | None = None
        self.turns = turns
        self._runtime, self._few_shot = runtime, FewShotLearner(network, SENSOR, STEPS, BIN_US)
        self._frozen_macs = 0  # multiply-adds a step of all layers but the head; counted once
        self.examples = Examples(self._few_shot, self.turns, runtime.settings.max_examples, self.changed)
        self.learner = Learner(self.examples, self._make, self.turns, runtime.registry.add_unlisted, self.notify)

    def _make(self, examples: list[EmbeddedExample], recordings: list[str]) -> tuple[SavedHead | None, ServedModel]:
        """Return the head learnt from these examples, and its model; None and an untaught model for under two classes.

        Called in the teaching thread. `recordings`: hashes of the recordings they come from.
        """
        if len({one.label for one in examples}) < 2:
            return None, self._model(*self._few_shot.untaught())
        taught = self._few_shot.learn(shown=examples)
        found = report(taught)
        training = {
            "data": "taught live",
            "features": self.features,
            "examples": len(examples),
            "recordings": recordings,
        }
        metrics = {key: found[key] for key in ("accuracy", "correct", "count", "interval")}
        network, card = taught.checkpoint(training, metrics)
        return SavedHead(network, card, found), self._model(network, card)

    def _model(self, network: TaughtNetwork, card: Card) -> ServedModel:
        runtime, own = self._runtime, network.head.weight.numel()
        classifier = Classifier(network, card, self.id, ann_macs=self._frozen_macs and self._frozen_macs + own)
        self._frozen_macs = classifier.ann_macs - own
        return ServedModel(classifier, runtime.settings, runtime.metrics, runtime.mailbox, "teaching", self.touch)

    def touch(self) -> None:
        """Mark the session as used now. Callable from any thread."""
        self.used = time.monotonic()

    def changed(self, added: int | None = None) -> None:
        """Learn from `added` new examples; None: examples were removed or renamed, or no more come for now."""
        self.touch()
        self.learner.update(added)

    def notify(self) -> None:
        if self.followers:
            body = self.body()
            for follower in list(self.followers):
                follower(body)

    def body(self) -> TeachingBody:
        head = self.learner.head
        said = NOT_YET if head is None else head.report
        return TeachingBody(
            id=self.id,
            features=self.features,
            window_ms=STEPS * BIN_US / 1000,
            classes=[TaughtClass(label=label, examples=numbers) for label, numbers in self.examples.numbers().items()],
            ready=head is not None,
            learning=self.learner.learning,
            version=self.learner.version,
            max_examples=self.examples.most,
            can_save=self._runtime.settings.save_to is not None,
            saved=self.saved,
            **{key: value for key, value in said.items() if key in TeachingBody.model_fields},
        )

    def close(self) -> None:
        """End the session; nothing of it is kept."""
        self.learner.close()
        self.examples.close()
        for follower in list(self.followers):
            follower(None)


class TeachingSessions:
    """Sessions by id. Whoever knows an id may teach; ids cannot be listed."""

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self._quota = Quota(settings.max_teaching_sessions, settings.max_teaching_per_client)
        self._open: dict[str, tuple[TeachingSession, str]] = {}  # by id: session and client
        self._thread = ThreadPoolExecutor(1, "teach")
        self.saved_models = SavedModels(runtime)
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, client: str, features: str | None) -> TeachingSession:
        """Begin a session. Raises UnknownModel, Overloaded, and ServiceError 429 at the client's limit."""
        model = self._features(features)
        self.expire()
        if (reached := self._quota.acquire(client)) is not None:
            raise Overloaded if reached == "total" else ServiceError(429, TOO_MANY)
        try:
            identity = f"teaching-{secrets.token_hex(12)}"
            turns = OneByOne(self._thread)
            session = await turns.run(lambda: TeachingSession(identity, model, self.runtime, turns))
        except BaseException:
            self._quota.release(client)
            raise
        self._open[identity] = session, client
        self.runtime.registry.add_unlisted(session.learner.model)
        return session

    def _features(self, name: str | None) -> ServedModel | None:
        """Return the model of this name, whose network gives the features; None for the one that ships for it."""
        if name is None:
            return None
        model = self.runtime.registry.get(name)
        if not gives_features(model.classifier.network, model.classifier.contract):
            raise ServiceError(400, UNFIT)
        return model

    def get(self, identity: str) -> TeachingSession:
        """Return a session by id. Raises ServiceError 404."""
        self.expire()
        if identity not in self._open:
            raise ServiceError(404, UNKNOWN)
        session, _ = self._open[identity]
        session.touch()
        return session

    def end(self, identity: str) -> None:
        """End a session; only saved models are kept. Raises ServiceError 404."""
        if identity not in self._open:
            raise ServiceError(404, UNKNOWN)
        session, client = self._open.pop(identity)
        self._quota.release(client)
        session.close()
        self.runtime.registry.remove_unlisted(identity)

    async def remove_saved(self, name: str) -> None:
        """Remove a saved model. Raises ServiceError."""
        await OneByOne(self._thread).run(lambda: self.saved_models.remove(name))
        for session, _ in self._open.values():
            if session.saved == name:
                session.saved = None
                session.notify()

    def expire(self) -> None:
        """End sessions that have been unused for too long, and schedule the next check."""
        idle_s, now = self.runtime.settings.teaching_idle_s, time.monotonic()
        for identity, (session, _) in list(self._open.items()):
            if not session.followers and session.used + idle_s < now:
                self.end(identity)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(idle_s + 1, self._check_again)

    def _check_again(self) -> None:
        self._timer = None
        self.expire()

    def close(self) -> None:
        for identity in list(self._open):
            self.end(identity)
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
