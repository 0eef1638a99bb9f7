"""What the tests of the C folder share: a network's example, compiled; what a camera may send; answers of both."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from torch import nn

from spikesight.app.c_folder import c_compiler, compile_c, preprocessing, rounding_flags
from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.recordings.nmnist import Nmnist
from spikesight.encoders.recordings.prophesee import WordDecoder
from spikesight.models.classifier.classifier import Classifier, Stepper
from spikesight.models.classifier.inputs import InputPipeline
from spikesight.models.contract import Card, Contract
from spikesight.models.engine.engine import Engine
from spikesight.models.export.c_source import write_source
from spikesight.models.networks.resnet import NETWORKS
from spikesight.models.novelty import NOTHING, NoveltyDetector
from spikesight.models.novelty.conformal import Conformal, Trials
from tests.support.models import some_known

CONTRACT = Contract("events", 2, 17, 13, 4, "count", 26, 34, 10_000, filter_us=2000)
CONFIG = replace(NETWORKS["event-small"], depths=(1, 1), widths=(8, 20), classes=3)
CARD = Card(CONTRACT, ("a", 'b"\\ ??/', "ö"))


def made(folder: Path, network: nn.Module, card: Card = CARD, *flags: str, int8: bool = False) -> Path:
    """The example of a folder that is written here, compiled."""
    folder.mkdir()
    write_source(folder, network, card, "model", preprocessing(card.contract), int8=int8)
    return compile_c(folder, c_compiler(), *rounding_flags(), *(flags or ("-O1",)))


def camera_words(kind: str, count: int, side: int, seed: int) -> bytes:
    """What a camera may send: an edge and noise, late events, gaps, a clock that begins anew, coordinates off the
    sensor, words of no meaning, and a last one that is cut.
    """
    random, t, out = np.random.default_rng(seed), 70_000, list[int]()
    records = bytearray()
    for _ in range(count):
        t += int(random.choice([0, 5, 50, 300, 3000], p=[0.3, 0.3, 0.25, 0.1, 0.05]))
        fault = random.random()
        t += int(random.integers(3_000_000)) if fault < 0.002 else 0
        t = max(0, t - int(random.integers(400_000))) if 0.002 < fault < 0.006 else t
        x, y, on = (int(value) for value in random.integers((side + 2, side + 2, 2)))
        if fault < 0.7:  # an edge that comes and goes
            x, y, on = int(side * random.uniform(0.3, 0.5)), int(side * random.uniform(0.2, 0.6)), t >> 15 & 1
        if kind == "evt2":
            out += [8 << 28 | t >> 6, on << 28 | (t & 63) << 22 | x << 11 | y]
            out += [int(random.integers(1 << 32))] if fault > 0.995 else []
        elif kind == "evt3":
            out += [8 << 12 | (t >> 12 & 0xFFF), 6 << 12 | (t & 0xFFF), y]
            vector = [3 << 12 | on << 11 | x, 4 << 12 | int(random.integers(4096)), 5 << 12 | int(random.integers(256))]
            out += [2 << 12 | on << 11 | x] if fault < 0.8 else vector
            out += [int(random.integers(1 << 16))] if fault > 0.995 else []
        else:
            row, t23 = 240 if fault > 0.998 else min(y, 239), t & 0x7FFFFF
            records += bytes([min(x, 255), row, on << 7 | t23 >> 16, t23 >> 8 & 255, t23 & 255])
    return bytes(records) + b"abcd" if records else np.array(out, "<u4" if kind == "evt2" else "<u2").tobytes() + b"a"


def decoded(kind: str, words: bytes) -> Events:
    """The events in whole words."""
    size = {"evt2": 4, "evt3": 2, "nmnist": 5}[kind]
    data = np.frombuffer(words, np.uint8)[: len(words) // size * size]
    if kind == "nmnist":
        return Nmnist().events(data)
    out = np.empty(12 * len(data) + 64, EVENTS)
    return out[: WordDecoder(kind)(data, out)[0]].copy()


class Answer(NamedTuple):
    """What is compared of the answer after a bin."""

    end_us: int
    step_label: str
    label: str
    committed: str
    in_distribution: float
    logits: tuple[float, ...]


def assert_same(found: list[Answer], expected: list[Answer]) -> None:
    """All is equal, but for the last digits of `in_distribution`."""
    assert [one._replace(in_distribution=0.0) for one in found] == [
        one._replace(in_distribution=0.0) for one in expected
    ]
    assert [one.in_distribution for one in found] == pytest.approx([one.in_distribution for one in expected], abs=1e-5)


def python_answers(network: nn.Module, card: Card, events: Events, sensor: SensorSize) -> list[Answer]:
    """What the classifier says after each bin, the events in three packets."""
    layers = 0 if card.novelty is None else card.novelty.layers
    engine = Engine(network, *card.contract.shape[1:], choice="events", rates=layers)
    classifier, found = Classifier(network, card, engine=engine), list[Answer]()
    track = classifier.stream_readout()
    track.threshold = None  # C has no alarm
    stepper = Stepper(classifier, track)
    for given in InputPipeline(card, sensor).stream(np.array_split(events, 3)):
        answer = stepper.step(given)
        p = answer.prediction
        known = float(answer.step_label != NOTHING) if p.in_distribution is None else p.in_distribution  # C has no None
        held = (p.commitment and p.commitment.label) or "-"
        found.append(Answer(p.end_us, answer.step_label, p.label or "-", held, known, p.logits))
    return found


def c_answers(program: Path, kind: str, words: bytes, sensor: SensorSize) -> list[Answer]:
    """What the example prints."""
    command = [str(program), kind, str(sensor.width), str(sensor.height)]
    lines = subprocess.run(command, input=words, capture_output=True, check=True).stdout.decode().splitlines()
    found = list[Answer]()
    for line in lines:
        end_us, step_label, label, held, known, *logits = line.split("\t")
        single = tuple(float(np.float32(word)) for word in logits)
        found.append(Answer(int(end_us), step_label, label, held, float(known), single))
    return found


def calibrated(network: nn.Module, contract: Contract) -> Card:
    """A card by which some input is unknown, some nothing, and some is committed to."""
    largest = np.concatenate([0.2 * np.linspace(0.1, 1.2 + 0.1 * k, 99) for k in range(3)])
    trials = Trials(largest, np.full(3, 99), np.zeros(0))
    known = NoveltyDetector.from_state(some_known(network, contract).state())
    conformal = Conformal.from_state(Conformal({contract.bin_us: trials}).state(), 3)
    return replace(CARD, contract=contract, novelty=known, conformal=conformal)
