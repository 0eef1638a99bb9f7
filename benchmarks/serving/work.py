"""Models and inputs to measure the service with, and the bare model doing the same work; for load.py."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.common import report
from benchmarks.common.rates import at_rate
from spikesight.encoders.events import SensorSize, make_events
from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.steps import Input
from spikesight.service.decoding.decode import decode, decode_image

LABELS = tuple(str(digit) for digit in range(10))
ACTIVE = 0.1  # share of the pixels with an event in a step


def null_images(folder: Path) -> Path:
    """Save an image model that costs next to nothing."""
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1,), (1,), in_channels=3))
    save(folder, network, Card(Contract("image", 3, 4, 4, 1, "direct"), LABELS))
    return folder


def null_events(folder: Path) -> Path:
    """Save an event model that costs next to nothing."""
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1,), (1,)))
    save(folder, network, Card(event_contract(4, 10_000), LABELS))
    return folder


def large_images(folder: Path) -> Path:
    """Save a SEW ResNet-18 with random weights, 3x224x224, T = 4, in which 7 % of the neurons fire on `picture`."""
    torch.manual_seed(0)
    contract = Contract("image", 3, 224, 224, 4, "direct")
    network, card = SpikingResNet(NETWORKS["sew-resnet18"]), Card(contract, tuple(map(str, range(1000))))
    at_rate(network, Classifier(network, card).encode_image(decode_image(picture(640, 480), 2**24)), 0.07)
    save(folder, network, card)
    return folder


def large_events(folder: Path) -> Path:
    """Save an event model with 20 ms a step and random weights, 7 % firing; 32 streams take about 14 ms a step."""
    torch.manual_seed(0)
    network = SpikingResNet(NETWORKS["event-large"])
    at_rate(network, torch.stack([sparse(8, 56, 56)] * 4).float(), 0.07)
    save(folder, network, Card(event_contract(56, 20_000), LABELS))
    return folder


def event_contract(side: int, bin_us: int) -> Contract:
    """Return the contract of an event model with a square sensor."""
    return Contract("events", 2, side, side, 10, "binary", sensor_width=side, sensor_height=side, bin_us=bin_us)


def picture(width: int, height: int) -> bytes:
    """Make a JPEG with a camera's typical size: 640 x 480 are 88 KB."""
    random = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(random.integers(0, 255, (height, width, 3), np.uint8), (0, 0), 2)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def sparse(streams: int, height: int, width: int) -> Tensor:
    """Make one step of random binary events, uint8 [N, 2, H, W]."""
    return (torch.rand(streams, 2, height, width, generator=torch.Generator().manual_seed(0)) < ACTIVE).to(torch.uint8)


def packets(contract: Contract, steps: int, seed: int) -> list[np.ndarray]:
    """Make random events of a stream, split so that each packet except the first closes one bin."""
    random = np.random.default_rng(seed)
    sensor = SensorSize(contract.sensor_width, contract.sensor_height)
    n = int(ACTIVE * 2 * sensor.width * sensor.height) * steps
    t = np.sort(random.integers(0, steps * contract.bin_us, n))
    t[0] = 0
    x, y, p = (random.integers(0, end, n) for end in (sensor.width, sensor.height, 2))
    cuts = np.searchsorted(t, np.arange(1, steps) * contract.bin_us)
    return np.split(make_events(t, x, y, p), cuts + 1)


class Bare(NamedTuple):
    """Speed of the bare model."""

    rate: float  # images a second
    cpu_ms: float  # of an image
    p50_ms: float  # of a batch


def bare(classifier: Classifier, body: bytes, batch: int, seconds: float, *, apart: bool = False) -> Bare:
    """Decode, encode and step `batch` images in a loop; `apart`: a second thread decodes the next batch."""

    def decoded() -> list[list[Input]]:
        return [classifier.inputs(decode(body, "")) for _ in range(batch)]

    n, times, cpu, begin = 0, [], time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(decoded) if apart else None
        while time.perf_counter() - begin < seconds:
            at = time.perf_counter()
            samples = decoded() if coming is None else coming.result()
            coming = pool.submit(decoded) if apart else None
            state = classifier.initial_state(batch)
            for steps in zip(*samples):
                state = classifier.step(torch.from_numpy(np.stack([given.x for given in steps])), state).state
            n += batch
            times.append((time.perf_counter() - at) * 1e3)
        took, spent = time.perf_counter() - begin, time.process_time() - cpu
    return Bare(n / took, spent * 1e3 / n, float(np.median(times)))


def bare_steps(classifier: Classifier, streams: int, batch: int, seconds: float, *, plain: bool = False) -> float:
    """Return the bare model's stream steps a second, in batches of `batch`; `plain` uses the PyTorch network."""
    x = sparse(batch, classifier.contract.height, classifier.contract.width)
    network, n = classifier.network, 0
    states = [None if plain else classifier.initial_state(batch) for _ in range(streams // batch)]
    begin = time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - begin < seconds:
            for number, state in enumerate(states):
                if plain:
                    states[number] = network(x[None].float(), state)[1]
                else:
                    states[number] = classifier.step(x, state).state  # type: ignore[arg-type]
            n += streams
    return n / (time.perf_counter() - begin)


def line(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def row(*cells: report.Cell) -> None:
    """Print a row of a table and add it to the report."""
    line(*cells)
    report.row(*cells)


def head(title: str, *names: str, goals: str = "") -> None:
    """Begin a table: print its title and head, and add it to the report."""
    print(f"\n{title}{'; goals: ' + goals if goals else ''}")
    report.table(title, *names)
    line(*names)
    line(*["---"] * len(names))
