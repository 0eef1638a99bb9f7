"""A teaching session's stream: its inputs are examples while a class is named, and its model is always the newest."""

from fastapi import WebSocket
from pydantic import ValidationError

from spikesight.models.steps import Input
from spikesight.service.http.errors import ServiceError, Stopped
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model, WrongBin
from spikesight.service.stream.cameras import Camera
from spikesight.service.stream.live import Live
from spikesight.service.stream.messages import Ended, Hello, ShowMessage, error_text
from spikesight.service.stream.protocol import Batch, Outgoing
from spikesight.service.teach.bodies import TeachingBody
from spikesight.service.teach.routes import label_of
from spikesight.service.teach.session import TeachingSession
from spikesight.service.teach.windows import WindowCutter, moves


class TeachingStream(Live):
    """A stream on a session's model, of a client's messages or of a camera of the service."""

    def __init__(
        self, socket: WebSocket, runtime: Runtime, teaching: TeachingSession, hello: Hello, camera: Camera | None = None
    ) -> None:
        self._newest = teaching.learner.model  # at its own bin
        super().__init__(socket, runtime, at_bin(self._newest, hello), hello, camera)
        self.teaching = teaching
        if camera is not None:
            teaching.cameras[camera.id] = camera.source.settings
        self.label: str | None = None  # of the examples that come
        self._piece = ""
        self._cutter = self._new_cutter()

    async def run(self) -> None:
        """Until the client leaves or breaks a rule. Raises Ended."""
        self.teaching.followers.add(self.follow)
        try:
            await super().run()
        finally:
            self.teaching.followers.discard(self.follow)
            self.teaching.touch()

    def greet(self) -> None:
        """Answer hello, with the state of the session."""
        super().greet()
        self.follow(self.teaching.body())

    def follow(self, body: TeachingBody | None) -> None:
        """Tell the client that the session has changed, or (None) is over."""
        if body is None:
            self.finish(Ended(1001, "the teaching session is over"))
        else:
            self.say([Outgoing(body.model_dump_json())])

    async def control(self, text: str) -> None:
        """Follow a text message: the class of what comes, or one of any stream."""
        try:
            message = ShowMessage.model_validate_json(text)
        except ValidationError:
            await super().control(text)
            return
        try:
            self.show(message.label)
        except ServiceError as error:
            self.say([Outgoing(error_text(0, str(error)))])

    def show(self, label: str | None) -> None:
        """Take inputs as examples of this class from now on; None: of none, and learn those so far.

        Raises ServiceError.
        """
        self._cutter = self._new_cutter()
        self.label = None
        if label is None:
            self.teaching.changed()
            return
        label = label_of(label)
        self.teaching.examples.check_room(label)
        self.label, self._piece = label, self.teaching.examples.piece()

    async def submit(self, batch: Batch) -> None:
        """Give inputs to the session and to its newest model."""
        if self.teaching.learner.model is not self._newest:
            await self.move()
        self.collect(batch.inputs)
        await super().submit(batch)

    async def move(self) -> None:
        """Go on with the session's newest model, once everything is answered by the old one."""
        await self.unsent(0)
        self.model.scheduler.close(self.job)
        self._newest = self.teaching.learner.model
        self.model = at_bin(self._newest, self.core.hello)
        self.core.move(self.model)
        self.job = self.opened()
        self.say([self.core.ready()])

    def _new_cutter(self) -> WindowCutter:
        return WindowCutter(self.model.classifier.contract.shown_bins)

    def collect(self, inputs: list[Input]) -> None:
        """Cut consecutive inputs into examples of the class that is named."""
        for given in inputs:
            if self.label is None:  # none is named, or the last example was refused
                return
            if (window := self._cutter.push(given)) is not None:
                self.example(self.label, window)

    def example(self, label: str, window: list[Input]) -> None:
        """Offer one example, unless too little moves in it."""
        if not moves(window):
            self.follow(self.teaching.body().model_copy(update={"quiet": True}))
            return
        try:
            self.teaching.examples.offer(label, self._piece, window)
        except ServiceError as error:
            self.label = None
            self.say([Outgoing(error_text(0, str(error)))])


def at_bin(model: Model, hello: Hello) -> Model:
    """A session's model at the bin that a stream asks for. Raises Ended."""
    try:
        return model.at(hello.bin_ms)
    except WrongBin as error:
        raise Ended(1008, str(error)) from None
    except Stopped:
        raise Ended(1001, "the teaching session is over") from None
