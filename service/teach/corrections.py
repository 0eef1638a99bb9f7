"""Correction of the cameras' model: a person names an uncertain moment, and a head that has learnt it is served.

Moments are kept in memory, and only with `--ask`; what is learnt from them is written to the model's folder, as firing
rates (models/teach/kept.py). Cameras and their sinks switch to the new head by themselves.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, NoReturn

import numpy as np
from fastapi import APIRouter, Path, Response
from pydantic import Field

from spikesight.models.classifier import Classifier
from spikesight.models.contract import CheckpointError
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.steps import Answer, Input, Prediction
from spikesight.models.teach.advice import score
from spikesight.models.teach.few_shot import FewShotLearner
from spikesight.models.teach.kept import learner_of
from spikesight.service.http.bodies import Body, content
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.logs import event
from spikesight.service.http.turns import ThreadAccount
from spikesight.service.runtime import Runtime
from spikesight.service.settings import SettingsError
from spikesight.service.teach.moments import GONE, Moment, Moments
from spikesight.service.teach.routes import PRIVATE, Label, refusals
from spikesight.service.teach.saving import write
from spikesight.service.teach.windows import WindowCutter, frames_of, moves, picture_of

MOST_ROWS = 2500  # most examples and augmented copies a head is solved from: the cost grows with their cube
FULL = "the model has learnt as many corrections as it can: teach it anew, with more recordings"
NOT_ITS = "the model has no class of that name: a correction names one of its own"
Number = Annotated[int, Path(ge=0, le=2**53, description="of the moment")]


class MomentBody(Body):
    """An uncertain moment of a camera."""

    number: int
    source: str = Field(description="the camera's id")
    time: str = Field(description="ISO 8601, UTC")
    label: str = Field(description="what the model said at its end")
    guesses: list[str] = Field(description="the classes, the likeliest first")
    steps: int = Field(description="pictures side by side in its clip")


class MomentsBody(Body):
    """The uncertain moments that wait for a name, the least certain first."""

    most: int = Field(description="that may wait; 0: none are kept")
    moments: list[MomentBody]


class Correctable:
    """A taught model whose head can be solved again with corrections. Used in the teaching thread."""

    def __init__(self, classifier: Classifier, learner: FewShotLearner) -> None:
        self.classifier, self._learner = classifier, learner

    @classmethod
    def of(cls, classifier: Classifier) -> "Correctable | None":
        """Wrap a classifier for correction; None if it was not taught. Raises CheckpointError without its examples."""
        if classifier.folder is None or not isinstance(classifier.network, TaughtNetwork):
            return None
        return cls(classifier, learner_of(classifier.folder, classifier.network, classifier.card))

    def correct(self, moment: Moment, label: str) -> Classifier:
        """Learn that `moment` shows `label`; write and return the new model, or raise ServiceError (409, 507)."""
        learner, card, folder = self._learner, self.classifier.card, self.classifier.folder
        network = self.classifier.network
        assert folder is not None
        assert isinstance(network, TaughtNetwork)
        if (len(learner.shown) + 1) * (1 + learner.copies) > MOST_ROWS:
            raise ServiceError(409, FULL)
        x = frames_of(moment.inputs).repeat(1 + learner.copies, 1)  # same weight as an example with its copies
        examples = [*learner.shown, learner.embed(label, f"{moment.time} {moment.number}", x)]
        taught = learner.learn(network.config.input_places > 0, examples)
        corrections = card.training.get("corrections", 0) + 1
        corrected, fresh = taught.checkpoint(card.training | {"corrections": corrections}, card.metrics | score(taught))
        write(folder, corrected, replace(fresh, profile=card.profile), examples)
        learner.shown = examples
        name = self.classifier.name
        self.classifier = Classifier.load(folder)
        self.classifier.name = name
        return self.classifier

    def predict(self, moments: list[Moment]) -> dict[int, Prediction]:
        """Return the newest head's predictions for moments, by number."""
        found: dict[int, Prediction] = {}
        for moment in moments:
            found[moment.number] = self.classifier.predict(moment.inputs)[-1]
        return found


class Corrections:
    """The uncertain moments of the service's cameras, and the model that learns from their corrections."""

    def __init__(self, runtime: Runtime, turns: ThreadAccount) -> None:
        self._runtime, self._turns = runtime, turns
        self.moments = Moments(runtime.settings.ask)
        self._correctable: Correctable | None = None
        self._cutters: dict[str, tuple[Classifier, WindowCutter]] = {}  # by camera, for its present model
        self._correcting = asyncio.Lock()

    async def start(self) -> None:
        """Begin once models are loaded. Raises SettingsError if the first model was taught but keeps no examples."""
        if self.moments.most:
            try:
                self._correctable = await self._load_correctable()
            except CheckpointError as error:
                raise SettingsError(f"{error} (--ask)") from None
            if self._correctable is None:
                event("moments in doubt are not kept: the first model was not taught", logging.WARNING)

    async def _load_correctable(self) -> Correctable | None:
        """Load what is needed to correct the cameras' model; None if it was not taught. Raises CheckpointError."""
        model = self._runtime.registry.get(None)
        try:
            return await self._turns.run(lambda: Correctable.of(model.classifier))
        except CheckpointError as error:
            raise CheckpointError(f"{model.name} cannot be corrected: {error}") from None

    def on_step(self, camera: str, classifier: Classifier, inputs: list[Input], answer: Answer) -> None:
        """Offer a camera's inputs as moments, with the answer after the last of them. Called in the event loop."""
        if self._correctable is None or classifier.labels != self._correctable.classifier.labels:
            return
        last, cutter = self._cutters.get(camera, (None, None))
        if last is not classifier or cutter is None:
            cutter = WindowCutter(classifier.contract.shown_bins, self._correctable.classifier.contract.steps)
            self._cutters[camera] = classifier, cutter
        for given in inputs:
            if (window := cutter.push(given)) is not None and moves(window):
                self.moments.offer(camera, window, answer.prediction)

    async def correct(self, number: int, label: str) -> None:
        """Learn that the moment of this number shows `label`, and serve the corrected head. Raises ServiceError."""
        async with self._correcting:
            moment, registry = self.moments.get(number), self._runtime.registry
            assert self._correctable is not None
            if self._correctable.classifier is not registry.get(None).classifier:
                await self._reset()
            correctable = self._correctable
            if label not in correctable.classifier.labels:
                raise ServiceError(400, NOT_ITS)
            classifier = await self._turns.run(lambda: correctable.correct(moment, label))
            await self._turns.run(lambda: registry.add(classifier, classifier.folder))
            with suppress(ServiceError):  # dropped meanwhile for a less certain moment
                self.moments.drop(number)
            waiting = self.moments.all()
            self.moments.update(await self._turns.run(lambda: correctable.predict(waiting)))

    async def _reset(self) -> NoReturn:
        """Forget all moments, as another model is served now. Raises ServiceError 404, or 409 without kept examples."""
        try:
            self._correctable = await self._load_correctable()
        except CheckpointError as error:
            self._correctable = None
            raise ServiceError(409, str(error)) from None
        finally:
            self.moments.forget()  # those that came meanwhile, too
        raise ServiceError(404, GONE)

    def body(self) -> MomentsBody:
        return MomentsBody(most=self.moments.most, moments=[self._body_of(one) for one in self.moments.all()])

    def _body_of(self, moment: Moment) -> MomentBody:
        assert self._correctable is not None
        likely, labels = np.argsort(moment.prediction.probabilities)[::-1], self._correctable.classifier.labels
        return MomentBody(
            number=moment.number,
            source=moment.source,
            time=moment.time,
            label=moment.prediction.label,
            guesses=[labels[k] for k in likely],
            steps=len(moment.inputs),
        )


def router(corrections: Corrections) -> APIRouter:
    """Return the routes below /v1/moments."""
    routes = APIRouter(prefix="/v1/moments", tags=["moments"])

    @routes.get("", summary="Moments in which the service's cameras were in doubt, the least sure first")
    async def get_moments() -> MomentsBody:
        return corrections.body()

    @routes.get(
        "/{number}",
        summary="A moment's clip as a PNG: its steps side by side",
        response_class=Response,
        responses={200: content("image/png")} | refusals(404),
    )
    async def get_moment(number: Number) -> Response:
        frames = frames_of(corrections.moments.get(number).inputs)[:, 0]  # [T, 2, H, W]
        return Response(picture_of(np.concatenate([*frames], 2)), media_type="image/png", headers=PRIVATE)

    @routes.post(
        "/{number}",
        summary="Say what a moment was: the model learns it, and answers by it from now on",
        responses=refusals(404, 409, 507),
    )
    async def post_moment(number: Number, label: Label) -> MomentsBody:
        await corrections.correct(number, label)
        return corrections.body()

    @routes.delete("/{number}", summary="Let a moment go: nothing is learnt of it", responses=refusals(404))
    async def delete_moment(number: Number) -> MomentsBody:
        corrections.moments.drop(number)
        return corrections.body()

    return routes
