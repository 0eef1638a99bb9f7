"""All teaching sessions of a service: begun within limits, found by their secret ids, ended when unused for long."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from spikesight.models.teach.few_shot import gives_features
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.shares import Quota
from spikesight.service.http.turns import ThreadAccount, Turns
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model
from spikesight.service.teach.saving import SavedModels
from spikesight.service.teach.session import TeachingSession

NONE_FITS = "no model here can give features: start the service with one of events, such as nmnist"
UNFIT = "that model cannot give features: name a spiking network that takes events"
TOO_MANY = "too many teaching sessions of this address: end one first"
UNKNOWN = "no teaching session of that id: begin one with POST /v1/teach; they end when they are not used for long"


class TeachingSessions:
    """Sessions by id. Whoever knows an id may teach; ids cannot be listed."""

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self._quota = Quota(settings.max_lessons, settings.max_lessons_per_client)
        self._open: dict[str, tuple[TeachingSession, str]] = {}  # by id: session and client
        self._thread, self._turns = ThreadPoolExecutor(1, "teach"), Turns(time.perf_counter)
        self.saved_models = SavedModels(runtime)
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, client: str, features: str | None) -> TeachingSession:
        """Begin a session. Raises UnknownModel, Overloaded, and ServiceError 429 at the client's limit."""
        model = self._features(features)
        self.expire()
        if (reached := self._quota.acquire(client)) is not None:
            raise Overloaded if reached == "total" else ServiceError(429, TOO_MANY)
        try:
            identity = f"lesson-{secrets.token_hex(12)}"
            turns = self.account()
            session = await turns.run(lambda: TeachingSession(identity, model, self.runtime, turns))
        except BaseException:
            self._quota.release(client)
            raise
        self._open[identity] = session, client
        self.runtime.registry.add_unlisted(session.learner.model)
        return session

    def account(self) -> ThreadAccount:
        """Return a new account for turns in the teaching thread."""
        return ThreadAccount(self._turns, self._thread)

    def _features(self, name: str | None) -> Model:
        """Return the model whose network gives the features: by name, or the first that can."""
        if name is not None:
            model = self.runtime.registry.get(name)
            if not gives_features(model.classifier.network, model.classifier.contract):
                raise ServiceError(400, UNFIT)
            return model
        for model in self.runtime.registry.all():
            if gives_features(model.classifier.network, model.classifier.contract):
                return model
        raise ServiceError(409, NONE_FITS)

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

    async def change(self, name: str, to: str | None) -> None:
        """Rename a saved model to `to`, or remove it if `to` is None. Raises ServiceError."""
        saved = self.saved_models
        await self.account().run(lambda: saved.remove(name) if to is None else saved.rename(name, to))
        for session, _ in self._open.values():
            if session.saved == name:
                session.saved = to
                session.notify()

    def expire(self) -> None:
        """End sessions that have been unused for too long, and schedule the next check."""
        idle_s, now = self.runtime.settings.lesson_idle_s, time.monotonic()
        for identity, (session, _) in list(self._open.items()):
            if not session.followers and session.used + idle_s < now:
                self.end(identity)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(idle_s + 1, self._check_again)

    def _check_again(self) -> None:
        self._timer = None
        if self._open:
            self.expire()

    def close(self) -> None:
        for identity in list(self._open):
            self.end(identity)
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
