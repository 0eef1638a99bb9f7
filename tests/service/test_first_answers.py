"""What was warmed up answers its first client as fast as its second: every compiled loop is there."""

import pytest

from spikesight.models.shipped import shipped
from tests.support.processes import in_fresh_process

FIRST = """
import sys
import numba, numpy as np
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.shipped import find
from spikesight.models.classifier.session import Session
from spikesight.service.scheduler.registry import warm_up
from tests.support.inputs.things import digit_on_paper

def loops():
    ours = [module for name, module in sorted(sys.modules.items()) if name.startswith("spikesight.")]
    named = {(module.__name__, name): value for module in ours for name, value in vars(module).items()}
    return {key: len(v.signatures) for key, v in named.items() if isinstance(v, numba.core.dispatcher.Dispatcher)}

classifier = Classifier.load(find(%r))
warm_up(classifier)
session = Session(classifier, SensorSize(640, 480))
warm = loops()
film = [(np.asarray(digit_on_paper(n / 7), np.uint8), n * 33_000) for n in range(12)]
frames = Stepper(classifier, classifier.track())
for image, t_us in film:
    for given in session.frame(image, t_us):
        frames.step(given)
size = SensorSize(640, 480)
several = 2 if classifier.contract.window else 0
for objects in {0, several}:
    camera, session = Emulator(size), Session(classifier, size, objects=objects)
    events = Stepper(classifier, session.track)
    for image, t_us in film:
        for given in session.push(camera.push(image.mean(2).astype(np.uint8), t_us)):
            events.step(given)
classifier.predict_image(film[0][0])
print({key: n for key, n in loops().items() if n != warm.get(key, 0)})
"""


@pytest.mark.parametrize("model", [name for name in ("nmnist", "motions") if name in shipped()])
def test_nothing_is_compiled_for_the_first_client(model: str) -> None:
    assert in_fresh_process(FIRST % model) == "{}"
