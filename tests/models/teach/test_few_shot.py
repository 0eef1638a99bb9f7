"""A lesson: shown, taken back, extended; and what it says of itself."""

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.roi.alignment import aligned
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.teach.few_shot import EmbeddedExample, Example, FewShotLearner, augmented, pieces_of
from tests.support.inputs.data_sets import digit_events
from tests.support.models import lively

SENSOR = SensorSize(64, 64)


def drawn(label: str, seed: int) -> Example:
    """Events of a line that lies, stands, or a ring, anywhere and of any size."""
    random = np.random.default_rng([len(label), seed])
    count, turn = 1500, random.uniform(0, 2 * np.pi, 1500)
    line, thin = random.uniform(-1, 1, count), random.normal(0, 0.05, count)
    x, y = {"lying": (line, thin), "standing": (thin, line), "a ring": (np.cos(turn), np.sin(turn))}[label]
    size, middle = random.uniform(8, 14), random.uniform(24, 40, 2)
    t = np.sort(random.integers(0, 300_000, count))
    xs, ys = (values * size + at for values, at in zip((x, y), middle))
    return Example(label, f"{label} {seed}", make_events(t, xs.astype(int), ys.astype(int), t % 2), SENSOR)


def lesson(labels: tuple[str, ...] = ("lying", "standing"), count: int = 6, copies: int = 0) -> FewShotLearner:
    made = FewShotLearner(lively(ResNetConfig("ms", (1, 1), (4, 8), pool="max")), SENSOR, 6, 50_000, 2, copies)
    for seed in range(count):
        for label in labels:
            made.show(drawn(label, seed))
    return made


def test_a_class_that_comes_later_leaves_the_others() -> None:
    made = lesson()
    before = [shown.features for shown in made.shown]
    for seed in range(6):
        made.show(drawn("a ring", seed))
    assert made.counts() == {"a ring": 6, "lying": 6, "standing": 6}
    assert all(np.array_equal(a, b.features) for a, b in zip(before, made.shown))
    taught = made.learn()
    assert (taught.judged.scores.argmax(1) == taught.truth).mean() > 0.9
    made.forget("a ring")
    assert made.labels == ("lying", "standing")


@torch.inference_mode()
@pytest.mark.parametrize("with_input", [False, True])
def test_the_checkpoint_is_the_head(with_input: bool) -> None:
    taught = lesson().learn(with_input)
    network, card = taught.checkpoint({}, {})
    assert card.labels == ("lying", "standing")
    assert card.novelty is None  # twelve are too few to fix a threshold on
    made = lesson(count=1)
    logits = network.head(torch.from_numpy(taught.features[:, 0] / taught.scale))
    assert logits.argmax(1).tolist() == taught.truth.tolist()
    assert network.config.input_places == (8 if with_input else 0)
    assert made.contract == card.contract


def test_a_taught_model_runs_at_shorter_bins() -> None:
    made = Classifier(*lesson(("lying", "standing", "a ring")).learn().checkpoint({}, {}))
    fine = made.at(5)
    assert (fine.contract.steps, fine.ann_macs) == (60, made.ann_macs)
    for label in ("lying", "standing", "a ring"):
        shown = drawn(label, 9)
        for model in (made, fine):
            assert model.predict_events(shown.events, shown.sensor)[-1].label == label  # as one sample
        again = np.concatenate([shown.events] * 4)
        again["t"] += np.repeat(np.arange(4) * 300_000, len(shown.events))
        found = fine.predict_events(again, shown.sensor)  # as a stream
        assert found[-1].label == label
        assert 200 <= len(found) <= 241


def test_varied_copies_are_learnt_with_an_example() -> None:
    made = lesson(count=4, copies=3)
    first = made.shown[0].features
    assert first.shape[0] == len(np.unique(first, axis=0)) == 4
    assert np.allclose(first[0], lesson(count=1).shown[0].features[0])
    taught = made.learn()
    assert taught.judged.scores.shape == (8, 2), "copies are not judged"
    assert (taught.judged.scores.argmax(1) == taught.truth).all()


def test_what_cannot_be_taught_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        lesson(("lying",)).learn()
    with pytest.raises(ValueError, match="two events"):
        lesson().show(drawn("lying", 0)._replace(events=drawn("lying", 0).events[:1]))


def shown(label: str, piece: str) -> EmbeddedExample:
    return EmbeddedExample(0, label, piece, np.zeros((1, 1), np.float32), np.zeros((2, 1, 1), np.uint8))


def test_the_only_piece_of_a_class_is_divided_into_five_of_time() -> None:
    alone = pieces_of([shown("a", "x") for _ in range(10)])
    assert alone.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert pieces_of([shown("a", "x") for _ in range(3)]).tolist() == [0, 1, 2]
    mixed = [shown("a", "x"), shown("b", "z"), shown("a", "y"), shown("b", "z"), shown("a", "x")]
    assert pieces_of(mixed).tolist() == [0, 2, 1, 3, 0], "b's two showings are two pieces, a's three are two"


@pytest.mark.parametrize("telling", ["the layers", "the input"])
def test_a_head_looks_at_the_input_where_it_judges_better_so(telling: str) -> None:
    made, random = lesson(count=1), np.random.default_rng(0)
    size, layers = made.shown[0].features.shape[1], made.learn(False).features.shape[2]
    of_layers = (np.arange(size) % (size // 2)) < layers // 2  # of each slice, what its layers gave comes first
    told = of_layers if telling == "the layers" else ~of_layers
    made.shown = [
        EmbeddedExample(
            number, label, f"{label} {number}",
            np.where(told, 3 * (label == "standing"), random.normal(size=(1, size))).astype(np.float32),
            made.shown[0].picture,
        )
        for number, label in enumerate(["lying", "standing"] * 8)
    ]  # fmt: skip
    taught = made.learn()
    assert taught.with_input == (telling == "the input")
    assert taught.features.shape[2] == (size if telling == "the input" else layers)


SIZE, LENGTH_US = (32, 32), 640_000


def test_a_copy_is_another_showing_of_the_same() -> None:
    events = aligned(digit_events(1, 2, 3000, length_us=4_000_000), SIZE, LENGTH_US)
    random, seen = np.random.default_rng(0), []
    for _ in range(20):
        copy = augmented(events, SIZE, LENGTH_US, random)
        assert 0.4 * len(events) < len(copy) <= len(events)
        assert (np.diff(copy["t"]) >= 0).all()
        assert 0 <= copy["t"][0] < copy["t"][-1] < LENGTH_US
        assert min(copy["x"].min(), copy["y"].min()) >= 0
        assert max(copy["x"].max(), copy["y"].max()) < 32
        assert np.hypot(np.median(copy["x"]) - 16, np.median(copy["y"]) - 16) < 6
        seen.append((len(copy), float(copy["x"].mean()), float(copy["t"].mean())))
    assert len(set(seen)) == 20
