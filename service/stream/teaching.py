"""A teaching session's stream: inputs become examples while a class is shown, and its model is always the newest."""

from fastapi import WebSocket
from pydantic import ValidationError

from spikesight.models.steps import Input
from spikesight.service.http.errors import ServiceError
from spikesight.service.runtime import Runtime
from spikesight.service.stream.cameras import Camera
from spikesight.service.stream.live import Live
from spikesight.service.stream.messages import Ended, Hello, ShowMessage, error_text
from spikesight.service.stream.protocol import InputBatch, Outgoing
from spikesight.service.teach.bodies import TeachingBody
from spikesight.service.teach.examples import WindowCutter, moves
from spikesight.service.teach.routes import label_of
from spikesight.service.teach.sessions import TeachingSession


class TeachingStream(Live):
    """A live stream on a teaching session's model, from a client's messages or a camera of the service."""

    def __init__(
        self, socket: WebSocket, runtime: Runtime, teaching: TeachingSession, hello: Hello, camera: Camera | None = None
    ) -> None:
        super().__init__(socket, runtime, teaching.learner.model, hello, camera)
        self.teaching = teaching
        self._take = ""
        self._cutter = WindowCutter()

    async def run(self) -> None:
        """Run the stream until the client leaves or breaks a rule. Raises Ended."""
        self.teaching.followers.add(self.follow)
        try:
            await super().run()
        finally:
            self.teaching.followers.discard(self.follow)
            self.teaching.examples.showing.pop(self, None)
            self.teaching.touch()

    def send_ready(self) -> None:
        """Answer the hello, and send the state of the session."""
        super().send_ready()
        self.follow(self.teaching.body())

    def follow(self, body: TeachingBody | None) -> None:
        """Send the client the session's new state; None: end the stream, as the session is over."""
        if body is None:
            self.finish(Ended(1001, "the teaching session is over"))
        else:
            self.send([Outgoing(body.model_dump_json())])

    async def control(self, text: str) -> None:
        """Handle a text message: a class to be shown, or a control message of any stream."""
        try:
            message = ShowMessage.model_validate_json(text)
        except ValidationError:
            await super().control(text)
            return
        try:
            self.show(message.label)
        except ServiceError as error:
            self.send([Outgoing(error_text(0, str(error)))])

    def show(self, label: str | None) -> None:
        """Collect the following inputs as examples of this class; None: stop, and learn from those collected.

        Raises ServiceError.
        """
        self._cutter = WindowCutter()
        self.teaching.examples.showing.pop(self, None)
        if label is None:
            self.teaching.changed()
            return
        label = label_of(label)
        self.teaching.examples.check_room(label)
        self.teaching.examples.showing[self], self._take = label, self.teaching.examples.new_take()

    async def submit(self, batch: InputBatch) -> None:
        """Collect inputs as examples, and step the session's newest model with them."""
        if self.teaching.learner.model is not self.model:
            await self.move()
        self.collect(batch.inputs)
        await super().submit(batch)

    async def move(self) -> None:
        """Continue on the session's newest model, once the old one has answered everything."""
        await self.wait_unsent(0)
        self.model.scheduler.close(self.job)
        self.model = self.teaching.learner.model
        self.core.move(self.model)
        self.job = self.open_job()
        self.send([self.core.ready()])

    def collect(self, inputs: list[Input]) -> None:
        """Cut consecutive inputs into examples of the class being shown."""
        for given in inputs:
            label = self.teaching.examples.showing.get(self)
            if label is None:  # no class is shown, or the last example was refused
                return
            if (window := self._cutter.push(given)) is not None:
                self.example(label, window)

    def example(self, label: str, window: list[Input]) -> None:
        """Offer one example to the session, unless too little moves in it."""
        if not moves(window):
            self.follow(self.teaching.body().model_copy(update={"quiet": True}))
            return
        try:
            self.teaching.examples.offer(label, self._take, window)
        except ServiceError as error:
            self.teaching.examples.showing.pop(self, None)
            self.send([Outgoing(error_text(0, str(error)))])
