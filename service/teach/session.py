"""One teaching session: its examples, its newest head, and its followers."""

import time
from collections.abc import Callable

from spikesight.encoders.sources.settings import Settings
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.teach.few_shot import FewShotLearner
from spikesight.service.http.turns import ThreadAccount
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model
from spikesight.service.teach.bodies import TaughtClass, TeachingBody
from spikesight.service.teach.examples import Examples
from spikesight.service.teach.heads import HeadMaker
from spikesight.service.teach.learner import Learner
from spikesight.service.teach.windows import BIN_US, SENSOR, STEPS

NOT_YET = {"accuracy": None, "advice": ["show examples of at least two classes"]}
REPORTED = ("accuracy", "correct", "count", "interval", "confused", "advice")


class TeachingSession:
    """A client's session on the network of `features`. Made in the teaching thread, used in the event loop.

    `used`: when it last was, on time.monotonic(): taught, asked for, or its network stepped for anybody.
    `followers` are given the state at every change, and None at the end.
    """

    def __init__(self, identity: str, features: Model, runtime: Runtime, turns: ThreadAccount) -> None:
        network = features.classifier.network
        assert isinstance(network, SpikingResNet)
        self.id, self.features, self.used = identity, features.name, time.monotonic()
        self.followers: set[Callable[[TeachingBody | None], None]] = set()
        self.saved: str | None = None
        self.turns = turns
        self._settings = runtime.settings
        few_shot = FewShotLearner(network, SENSOR, STEPS, BIN_US)
        self.examples = Examples(few_shot, self.turns, runtime.settings.max_examples, self.changed)
        self.cameras: dict[str, Settings] = {}  # how those of the service are set that were before its streams
        heads = HeadMaker(identity, self.features, few_shot, runtime, self.touch, self.cameras)
        self.learner = Learner(self.examples, heads.make, self.turns, runtime.registry.hold, self.tell)

    def touch(self) -> None:
        """Count as used now. From any thread."""
        self.used = time.monotonic()

    def changed(self, added: int | None = None) -> None:
        """Examples were added, or None: taken back or renamed, or no more come for now."""
        self.touch()
        self.learner.update(added)

    def tell(self) -> None:
        if self.followers:
            body = self.body()
            for follower in list(self.followers):
                follower(body)

    def body(self) -> TeachingBody:
        head = self.learner.head
        report = NOT_YET if head is None else head.report
        return TeachingBody(
            id=self.id,
            features=self.features,
            window_ms=STEPS * BIN_US / 1000,
            classes=[TaughtClass(label=label, examples=numbers) for label, numbers in self.examples.numbers().items()],
            ready=head is not None,
            learning=self.learner.learning,
            version=self.learner.version,
            max_examples=self.examples.most,
            can_save=self._settings.save_to is not None,
            saved=self.saved,
            **{key: report[key] for key in REPORTED if key in report},
        )

    def close(self) -> None:
        """End: nothing of it is kept."""
        self.learner.close()
        self.examples.close()
        for follower in list(self.followers):
            follower(None)
