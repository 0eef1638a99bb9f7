"""Heads and the models that serve them, made in the teaching thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spikesight.encoders.sources.settings import Settings, shared
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.teach.advice import report
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model


@dataclass(frozen=True)
class Head:
    """A network with a learnt head, its card, and how good it is: see `models.teach.advice.report`."""

    network: TaughtNetwork
    card: Card
    report: dict[str, Any]
    examples: list[EmbeddedExample]


class HeadMaker:
    """Makes heads on the frozen network of the model `features`, and models named `identity`; `on_step` is theirs."""

    def __init__(
        self,
        identity: str,
        features: str,
        few_shot: FewShotLearner,
        runtime: Runtime,
        on_step: Callable[[], None],
        cameras: Mapping[str, Settings],
    ) -> None:
        self._identity, self._features = identity, features
        self._few_shot, self._runtime, self._on_step, self._cameras = few_shot, runtime, on_step, cameras
        self._frozen_macs = 0  # multiply-adds a step of all but the head: counted once

    def make(self, examples: list[EmbeddedExample], recordings: list[str]) -> tuple[Head | None, Model]:
        """The head of these examples and its model; an untaught model for fewer than two classes.

        `recordings`: digests of those the examples are from, for the card.
        """
        if len({one.label for one in examples}) < 2:
            return None, self._model(*self._few_shot.untaught())
        taught = self._few_shot.learn(shown=examples)
        found = report(taught)
        training = {
            "data": "taught live",
            "features": self._features,
            "examples": len(examples),
            "recordings": recordings,
            "camera": shared(self._cameras.values()),
        }
        metrics = {key: found[key] for key in ("accuracy", "correct", "count", "interval")}
        network, card = taught.checkpoint(training, metrics)
        return Head(network, card, found, examples), self._model(network, card)

    def _model(self, network: TaughtNetwork, card: Card) -> Model:
        runtime, own = self._runtime, network.head.weight.numel()
        classifier = Classifier(network, card, self._identity, ann_macs=self._frozen_macs and self._frozen_macs + own)
        self._frozen_macs = classifier.ann_macs - own
        return Model(classifier, runtime.settings, runtime.metrics, runtime.mailbox, "lesson", self._on_step)
