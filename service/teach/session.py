"""One teaching session: its examples, its newest head, and its followers."""

import time
from collections.abc import Callable

from spikesight.encoders.sources.settings import Settings, shared
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.teach.advice import report
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.http.turns import ThreadAccount
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model
from spikesight.service.teach.bodies import TaughtClass, TeachingBody
from spikesight.service.teach.examples import Examples
from spikesight.service.teach.learner import Head, Learner
from spikesight.service.teach.windows import BIN_US, SENSOR, STEPS

NOT_YET = {"accuracy": None, "advice": ["show examples of at least two classes"]}
REPORTED = ("accuracy", "correct", "count", "interval", "confused", "advice")


class TeachingSession:
    """A client's teaching session with `features` as feature network. Created in the teaching thread, used in the loop.

    `used`: when it was last taught, asked for or stepped, on time.monotonic(). `followers` are called with the state at
    every change, and with None at the end.
    """

    def __init__(self, identity: str, features: Model, runtime: Runtime, turns: ThreadAccount) -> None:
        network = features.classifier.network
        assert isinstance(network, SpikingResNet)
        self.id, self.features, self.used = identity, features.name, time.monotonic()
        self.followers: set[Callable[[TeachingBody | None], None]] = set()
        self.saved: str | None = None
        self.turns = turns
        self._runtime, self._few_shot = runtime, FewShotLearner(network, SENSOR, STEPS, BIN_US)
        self._frozen_macs = 0  # multiply-adds a step of all layers but the head; counted once
        self.examples = Examples(self._few_shot, self.turns, runtime.settings.max_examples, self.changed)
        self.cameras: dict[str, Settings] = {}  # settings of the service's cameras that gave examples
        self.learner = Learner(self.examples, self._make, self.turns, runtime.registry.add_unlisted, self.notify)

    def _make(self, examples: list[EmbeddedExample], recordings: list[str]) -> tuple[Head | None, Model]:
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
            "camera": shared(self.cameras.values()),
        }
        metrics = {key: found[key] for key in ("accuracy", "correct", "count", "interval")}
        network, card = taught.checkpoint(training, metrics)
        return Head(network, card, found, examples), self._model(network, card)

    def _model(self, network: TaughtNetwork, card: Card) -> Model:
        runtime, own = self._runtime, network.head.weight.numel()
        classifier = Classifier(network, card, self.id, ann_macs=self._frozen_macs and self._frozen_macs + own)
        self._frozen_macs = classifier.ann_macs - own
        return Model(classifier, runtime.settings, runtime.metrics, runtime.mailbox, "lesson", self.touch)

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
            **{key: said[key] for key in REPORTED if key in said},
        )

    def close(self) -> None:
        """End the session; nothing of it is kept."""
        self.learner.close()
        self.examples.close()
        for follower in list(self.followers):
            follower(None)
