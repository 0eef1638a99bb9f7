"""A lesson's stream: its inputs are shown to the lesson while a class is named, and its model is always the newest."""

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
from spikesight.service.teach.session import TeachingSession, WindowCutter, moves


class TeachingStream(Live):
    """A stream on a lesson's model, of a client's messages or of a camera of the service."""

    def __init__(
        self, socket: WebSocket, runtime: Runtime, lesson: TeachingSession, hello: Hello, camera: Camera | None = None
    ) -> None:
        self._newest = lesson.model  # at its own bin
        super().__init__(socket, runtime, at_bin(self._newest, hello), hello, camera)
        self.lesson = lesson
        self.label: str | None = None  # of what is being shown
        self._piece = ""
        self._cutter = self._new_cutter()

    async def run(self) -> None:
        """Until the client leaves or breaks a rule. Raises Ended."""
        self.lesson.followers.add(self.follow)
        try:
            await super().run()
        finally:
            self.lesson.followers.discard(self.follow)
            self.lesson.touch()

    def greet(self) -> None:
        """The answer to hello, and what happened while nobody listened."""
        super().greet()
        self.follow(self.lesson.body())

    def follow(self, body: TeachingBody | None) -> None:
        """The lesson has changed, or is over."""
        if body is None:
            self.finish(Ended(1001, "the lesson is over"))
        else:
            self.say([Outgoing(body.model_dump_json())])

    async def control(self, text: str) -> None:
        """Follow a text message: which class is shown, or one of any stream."""
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
        """From now on this class is shown; None: nothing is, and what was shown is learnt. Raises TeachingError."""
        self._cutter = self._new_cutter()
        self.label = None
        if label is None:
            self.lesson.changed(due=True)
            return
        label = label_of(label)
        self.lesson.check_room(label)
        self.label, self._piece = label, self.lesson.piece()

    async def submit(self, batch: Batch) -> None:
        """Inputs to the lesson and to its newest model."""
        if self.lesson.model is not self._newest:
            await self.move()
        self.collect(batch.inputs)
        await super().submit(batch)

    async def move(self) -> None:
        """Go on on the lesson's newest model, once everything is answered by the old one."""
        await self.unsent(0)
        self.model.scheduler.close(self.job)
        self._newest = self.lesson.model
        self.model = at_bin(self._newest, self.core.hello)
        self.core.move(self.model)
        self.job = self.model.scheduler.open(self, request=False)
        self.say([self.core.ready()])

    def _new_cutter(self) -> WindowCutter:
        return WindowCutter(self.model.classifier.contract.shown_bins)

    def collect(self, inputs: list[Input]) -> None:
        """Inputs that follow each other are an example, if enough moves in it."""
        for given in inputs:
            if self.label is None:  # nothing is shown, or the last example was refused
                return
            if (window := self._cutter.push(given)) is not None:
                self.example(self.label, window)

    def example(self, label: str, window: list[Input]) -> None:
        """One example is whole."""
        if not moves(window):
            self.follow(self.lesson.body().model_copy(update={"quiet": True}))
            return
        try:
            self.lesson.offer(label, self._piece, window)
        except ServiceError as error:
            self.label = None
            self.say([Outgoing(error_text(0, str(error)))])


def at_bin(model: Model, hello: Hello) -> Model:
    """A lesson's model at the bin that a stream asks for. Raises Ended."""
    try:
        return model if hello.bin_ms is None else model.at(hello.bin_ms)
    except WrongBin as error:
        raise Ended(1008, str(error)) from None
    except Stopped:
        raise Ended(1001, "the lesson is over") from None
