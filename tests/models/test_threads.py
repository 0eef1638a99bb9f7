"""One model in many threads answers as it does in one, bit for bit; eight threads may load it at once."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.shipped import shipped
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, LABELS, lively
from tests.support.processes import in_fresh_process
from tests.support.threads import together

THREADS = 8
Predictions = list[spikesight.Prediction]
Job = Callable[[], Predictions]


def digit(number: int, side: int = 28) -> np.ndarray:
    """Uint8 [side, side], light on dark."""
    picture = np.zeros((side, side), np.uint8)
    cv2.putText(picture, str(number), (side // 5, 4 * side // 5), cv2.FONT_HERSHEY_SIMPLEX, side / 35, 255, 2)
    return picture


def timeless(predictions: Predictions) -> Predictions:
    """All but how long they took."""
    return [replace(prediction, latency_ms=0.0) for prediction in predictions]


@pytest.fixture(autouse=True)
def short_turns() -> Iterator[None]:
    """Threads take turns 50 times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(usual)


def assert_alike_in_threads(jobs: list[Job]) -> None:
    """Every thread does all jobs, each beginning with another one."""
    alone = [timeless(job()) for job in jobs]

    def all_from(first: int) -> list[Predictions]:
        found = {}
        for number in [(first + n) % len(jobs) for n in range(len(jobs))]:
            found[number] = timeless(jobs[number]())
            assert found[number] == alone[number]
        return [found[number] for number in range(len(jobs))]

    for found in together([lambda first=first: all_from(first) for first in range(THREADS)]):
        assert found == alone


def recordings(classifier: Classifier, count: int = 4) -> list[Job]:
    sensor = SensorSize(classifier.contract.sensor_width, classifier.contract.sensor_height)
    shown = [some_events(3000, 200_000, seed, (sensor.width, sensor.height)) for seed in range(count)]
    return [lambda one=one: classifier.predict_events(one, sensor) for one in shown]


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_in_threads(name: str) -> None:
    model = spikesight.load(name)
    pictures = (1, 7) if "image" in model.classifier.kinds else ()
    jobs: list[Job] = [lambda n=n: model.steps(digit(n)) for n in pictures]
    if model.classifier.contract.kind == "events":
        jobs += [lambda n=n: model.steps(saccades(digit(n)), (34, 34)) for n in (3, 7)]
        jobs += [lambda s=s: list(model.stream(s)) for s in ("digit-3", "digit-7")]
        jobs += recordings(model.classifier, 2)
    if len(model.bins_ms) == 2 and model.bins_ms[0] <= 10 <= model.bins_ms[1]:
        jobs += [lambda: list(model.stream("digit-2", bin_ms=10))]
    assert_alike_in_threads(jobs)


@pytest.mark.parametrize("precision", ["fp32", "none of those"])  # which the engine takes, and does not
@pytest.mark.parametrize("spiking_readout", [False, True])
def test_a_network_and_twins_in_threads(spiking_readout: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_PRECISION", precision)
    config = ResNetConfig("ms", (1, 1), (8, 16), in_channels=2, classes=3, spiking_readout=spiking_readout)
    network = lively(config)
    made = Classifier(network, Card(replace(EVENT_CONTRACT, shortest_bin_us=1000), LABELS))
    assert_alike_in_threads([*recordings(made, 3), *recordings(made.at(5), 1)])


LOADED_TOGETHER = """
import numpy as np, spikesight
from tests.support.threads import together
digit = np.zeros((28, 28), np.uint8); digit[5:23, 13:16] = 255
found = together([lambda: spikesight.load("nmnist").predict(digit).logits for _ in range(8)])
print(len(set(found)), spikesight.load("nmnist").predict(digit).logits == found[0])
"""


def test_eight_threads_may_load_at_once_in_a_fresh_process() -> None:
    assert in_fresh_process(LOADED_TOGETHER) == "1 True"
