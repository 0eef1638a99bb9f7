"""Augmentation and losses, and batches on their way to them."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from spikesight.models.contract import Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.config import TrainConfig
from spikesight.training.data.sets import Frames
from spikesight.training.distributed import ProcessGroup
from spikesight.training.run.fit import fit
from spikesight.training.run.loop import Trainee, learning_rate, make_optimiser, update_average
from spikesight.training.step.augment import augment, crop_middle, drop_events, motions, move_images
from spikesight.training.step.batches import Batches, carried_state, evaluation_input, seeded
from spikesight.training.step.losses import LOSSES, TEMPERATURE, class_weights, distillation, total_loss
from tests.support.inputs.data_sets import small_config

PLAIN = TrainConfig(shift=0, rotate=0.0, scale=0.0, drop=0.0)
CASES = {
    "nothing": PLAIN,
    "shift": replace(PLAIN, shift=3),
    "rotate": replace(PLAIN, rotate=30.0),
    "flip": replace(PLAIN, flip=True),
    "swap": replace(PLAIN, swap=True),
    "scale": replace(PLAIN, scale=0.5),
    "drop": replace(PLAIN, drop=0.9),
    "all": TrainConfig(shift=2, rotate=10.0, scale=0.2, drop=0.5, flip=True),
}
AUGMENTED = pytest.mark.parametrize("config", CASES.values(), ids=list(CASES))


def frames(n: int = 6, t: int = 4, h: int = 12, w: int = 17) -> Tensor:
    return (torch.rand(n, t, 2, h, w, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@AUGMENTED
def test_binary_shape_and_input_kept(config: TrainConfig) -> None:
    x = frames()
    before = x.clone()
    y = augment(x, config, generator())
    assert y.shape == x.shape
    assert set(y.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(x, before)
    assert torch.equal(y, augment(x, config, generator()))


def test_a_shift_moves_by_whole_pixels_and_brings_in_nothing() -> None:
    x = torch.zeros(64, 1, 2, 11, 11)
    x[:, 0, 1, 5, 5] = 1
    y = augment(x, CASES["shift"], generator())
    assert y.sum() == 64
    places = {(i[2], i[3]) for i in y[:, 0].nonzero().tolist()}
    assert len(places) > 20
    assert all(2 <= row <= 8 and 2 <= column <= 8 for row, column in places)


def images(n: int = 6, side: int = 13) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(2))


def test_what_needs_no_motion_stays_exact() -> None:
    assert torch.equal(augment(frames(), PLAIN, generator()), frames())
    assert torch.equal(move_images(images(), PLAIN, (13, 13), generator()), images())
    assert torch.equal(crop_middle(images(), (13, 13)), images())
    assert torch.equal(crop_middle(images(), (7, 9)), images()[:, :, 3:10, 2:11])


@pytest.mark.parametrize("size", [(7, 9), (6, 6)])
def test_random_crops_are_pieces_of_the_picture_from_all_over(size: tuple[int, int]) -> None:
    x, (h, w) = images(64), size
    places = set()
    for picture, crop in zip(x, move_images(x, PLAIN, size, generator())):
        pieces = picture.unfold(1, h, 1).unfold(2, w, 1)  # [C, rows, columns, h, w]
        found = ((pieces - crop[:, None, None]).abs().amax((0, 3, 4)) < 1e-5).nonzero().tolist()
        assert len(found) == 1
        places.add(tuple(found[0]))
    assert len(places) > 20


def test_a_scaled_crop_stays_inside_the_picture() -> None:
    y = move_images(torch.ones(64, 1, 20, 20), replace(PLAIN, scale=0.9), (11, 11), generator())
    assert (y[:, :, 1:-1, 1:-1] > 0.99).all()


def drawn(count: int, source: torch.Generator, degrees: float) -> Tensor:
    """Angles in radians, drawn evenly from as many degrees each way."""
    return (2 * torch.rand(count, generator=source) - 1) * math.radians(degrees)


def test_a_motion_turns_and_mirrors_in_pixels_whatever_the_shape() -> None:
    h, w, n = 12, 17, 9
    config, source = replace(PLAIN, rotate=30.0, shift=3, flip=True), generator()
    found = motions(n, (h, w), (h, w), config, generator())
    angle = drawn(n, source, 30.0)
    right, down = (torch.randint(-3, 4, (n,), generator=source) for _ in range(2))
    mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=source)
    cos, sin = angle.cos(), angle.sin()
    assert mirror.unique().tolist() == [-1, 1]
    expected = [[mirror * cos, -sin * h / w, 2 * right / w], [mirror * sin * w / h, cos, 2 * down / h]]
    torch.testing.assert_close(found, torch.stack([torch.stack(row, 1) for row in expected], 1))


def test_a_quarter_of_the_samples_each_loses_nothing_cells_a_stretch_of_time_or_a_rectangle() -> None:
    t, h, w, n = 10, 8, 16, 1600
    kept = drop_events(torch.ones(n, t, 2, h, w), 0.5, generator()).bool()
    by_time, by_place = kept.any((2, 3, 4)), kept.any((1, 2))
    whole = kept.flatten(1).all(1)
    interval = ~whole & (kept == by_time.view(n, t, 1, 1, 1)).flatten(1).all(1)
    rectangle = ~whole & (kept == by_place.view(n, 1, 1, h, w)).flatten(1).all(1)
    cells = ~(whole | interval | rectangle)
    assert all(350 < int(kind.sum()) < 480 for kind in (whole, interval, rectangle, cells))
    lost = 1 - kept[cells].float().mean((1, 2, 3, 4))
    assert float(lost.max()) == pytest.approx(0.5, abs=0.03)
    assert float(lost.mean()) == pytest.approx(0.25, abs=0.03)
    gaps = [torch.nonzero(~steps).flatten().tolist() for steps in by_time[interval]]
    assert {(gap[0], gap[-1], len(gap)) for gap in gaps} >= {(0, 4, 5), (5, 9, 5), (0, 0, 1)}, "any place, up to half"
    holes = [torch.nonzero(~places) for places in by_place[rectangle]]
    sides = [(hole[-1] - hole[0] + 1).tolist() for hole in holes]
    assert all(len(hole) == rows * columns for hole, (rows, columns) in zip(holes, sides))


LOGITS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 4, 2])
EVERY = pytest.mark.parametrize("name", LOSSES)


def loss(name: str, values: Tensor = LOGITS, labels: Tensor = LABELS, weights: Tensor | None = None, **s) -> Tensor:
    """The loss without TET's pull."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikesight.training.step.losses.PULL", s.pop("pull", 0.0))
        none = s.pop("none", False)
        return total_loss(values, labels, TrainConfig(**{"loss": name, **s}), weights=weights, none=none)


@pytest.mark.parametrize("name", ["mean", "tet"])
def test_an_outlier_is_none_of_the_classes_whose_logit_is_zero(name: str) -> None:
    labels = torch.tensor([0, 5, 2])
    none = torch.cat([LOGITS, torch.zeros(4, 3, 1)], 2)
    assert torch.allclose(loss(name, labels=labels, none=True), loss(name, none, labels))
    weights = torch.tensor([1.0, 2.0, 3.0, 1.0, 1.0])
    by_hand = loss(name, none, labels, torch.cat([weights, torch.ones(1)]))
    assert torch.allclose(loss(name, labels=labels, weights=weights, none=True), by_hand)


def test_every_loss_by_hand() -> None:
    by_step = torch.stack([cross_entropy(step, LABELS) for step in LOGITS]).mean()
    pull = ((LOGITS - 1) ** 2).mean()
    torch.testing.assert_close(loss("mean"), cross_entropy(LOGITS.mean(0), LABELS))
    torch.testing.assert_close(loss("tet", pull=0.05), 0.95 * by_step + 0.05 * pull)


@EVERY
def test_smoothing_moves_its_share_to_the_other_classes(name: str) -> None:
    sure = torch.zeros(2, 3, 5)
    sure[:, torch.arange(3), LABELS] = 20.0
    assert loss(name, sure, label_smoothing=0.1) > loss(name, sure)
    shares = 0.8 * one_hot(LABELS, 5) + 0.2 / 5
    expected = -(shares * LOGITS[0].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss(name, LOGITS[:1], label_smoothing=0.2), expected)


@EVERY
def test_gradients_are_finite_and_logits_of_less_precision_are_judged_in_float32(name: str) -> None:
    leaf = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(name, leaf), leaf)
    assert gradient.isfinite().all()
    assert gradient.any()
    config = TrainConfig(loss=name, teacher="x", spike_penalty=1.0)  # type: ignore[arg-type]
    half, others = LOGITS.bfloat16(), (torch.zeros(3, 5), torch.tensor(0.25))
    assert torch.equal(total_loss(half, LABELS, config, *others), total_loss(half.float(), LABELS, config, *others))


def test_the_total_weighs_its_parts() -> None:
    teacher, rate = torch.randn(3, 5, generator=torch.Generator().manual_seed(4)), torch.tensor(0.25)
    config = TrainConfig(loss="mean", teacher="x", spike_penalty=2.0)
    expected = (loss("mean") + distillation(LOGITS, LABELS, teacher)) / 2 + 0.5
    torch.testing.assert_close(total_loss(LOGITS, LABELS, config, teacher, rate), expected)


def test_distillation_is_the_divergence_where_the_teacher_is_right_times_the_square_of_the_temperature() -> None:
    teacher = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    targets = teacher.argmax(1)
    theirs, ours = (teacher / TEMPERATURE).softmax(1), (LOGITS.mean(0) / TEMPERATURE).softmax(1)
    divergence = (theirs * (theirs / ours).log()).sum(1)
    torch.testing.assert_close(distillation(LOGITS, targets, teacher), TEMPERATURE**2 * divergence.mean())
    targets[1] = 5  # an outlier
    kept = divergence[[0, 2]].sum() / 3
    torch.testing.assert_close(distillation(LOGITS, targets, teacher), TEMPERATURE**2 * kept)


@EVERY
def test_class_weights_make_a_rare_class_count_as_much(name: str) -> None:
    values = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))

    def repeated(first: int, second: int) -> tuple[Tensor, Tensor]:
        joined = torch.cat([values[:, :1].repeat(1, first, 1), values[:, 1:].repeat(1, second, 1)], 1)
        return joined, torch.tensor([0] * first + [1] * second)

    rare, labels = repeated(6, 2)
    weights = class_weights(labels, 2)
    assert weights is not None
    assert weights.tolist() == pytest.approx([8 / 12, 2.0])
    weighed = loss(name, rare, labels, torch.cat([weights, torch.ones(2)]))
    torch.testing.assert_close(weighed, loss(name, *repeated(4, 4)))
    alike = torch.full((4,), 7.0)
    torch.testing.assert_close(loss(name, rare, labels, alike), loss(name, rare, labels))


def test_classes_of_one_size_need_no_weights_and_a_class_without_samples_makes_no_loss_infinite() -> None:
    assert class_weights(torch.tensor([0, 1, 1, 0]), 2) is None
    labels = torch.tensor([0, 0, 1])
    weights = class_weights(labels, 5)
    assert weights is not None
    assert all(loss(name, LOGITS, labels, weights, label_smoothing=0.1).isfinite() for name in LOSSES)


STEPS = 10  # an epoch


def rates(*steps: int, **options: Any) -> list[float]:
    config = TrainConfig(**{"lr": 0.4, "epochs": 5, "warmup_epochs": 1.0, **options})
    return [learning_rate(config, step, STEPS) for step in steps]


def test_a_warm_up_is_a_line_to_the_peak() -> None:
    assert rates(0, 4, 9, 10) == pytest.approx([0.04, 0.2, 0.4, 0.4])
    assert rates(0, warmup_epochs=0.0) == [0.4]
    assert rates(0, 1, 2, warmup_epochs=0.2, schedule="constant") == pytest.approx([0.2, 0.4, 0.4])


def test_a_cosine_falls_to_nothing_at_the_end() -> None:
    assert rates(30, 50) == pytest.approx([0.2, 0.0], abs=1e-12)
    assert rates(20)[0] == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))
    assert rates(10, epochs=1, warmup_epochs=1.0) == [0.4], "nothing is left to fall in"


def lossy_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 3))


def test_weights_decay_and_nothing_else() -> None:
    config = TrainConfig(weight_decay=0.3, lr=0.01)
    made = make_optimiser(lossy_network(), config)
    assert isinstance(made, torch.optim.AdamW)
    decayed, other = made.param_groups
    assert (decayed["weight_decay"], other["weight_decay"], decayed["lr"], other["lr"]) == (0.3, 0.0, 0.01, 0.01)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in other["params"]] == [1, 1, 1, 1]
    sgd = make_optimiser(lossy_network(), TrainConfig(optimiser="sgd", lr=0.01))
    assert isinstance(sgd, torch.optim.SGD)
    assert [group["momentum"] for group in sgd.param_groups] == [0.9, 0.9]


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (1, 2 / 11), (8, 0.5), (80, 0.9), (10_000, 0.9)])
def test_a_moving_average_keeps_more_the_longer_it_goes_on(step: int, kept: float) -> None:
    module = lossy_network()
    average = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    module[1].num_batches_tracked.fill_(7)  # type: ignore[union-attr,operator]
    update_average(average, module, 0.9, step)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(average[name], tensor * (1 - kept))
    assert int(average["1.num_batches_tracked"]) == 7


EVENTS = Contract("events", 2, 5, 6, 3, "binary", 6, 5, 1000)
IMAGES = Contract("image", 3, 4, 4, 2, "direct", mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
PROCESSES = ProcessGroup(torch.device("cpu"))


class OnDisk:
    """Rows that are decoded when they are read, and which were."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read, self.shape = rows, list[list[int]](), rows.shape

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read.append(rows.tolist())
        return self.rows[rows]


def data(slow: bool = False, **settings: Any) -> Any:
    frames = np.random.default_rng(0).integers(0, 2, (8, 3, 2, 5, 6)).astype(np.uint8)
    train = Frames(OnDisk(frames) if slow else frames, np.arange(8))
    config = TrainConfig(**{"shift": 1, "rotate": 10.0, "scale": 0.0, "drop": 0.2, **settings})
    return SimpleNamespace(train=train, outliers=None, config=config, contract=EVENTS, labels=tuple("abcdefgh"))


def test_a_batch_follows_from_seed_and_step() -> None:
    rows = np.array([5, 1, 3])
    first, again = (Batches(data(), PROCESSES).make(rows, 4) for _ in range(2))
    assert torch.equal(first.x_seq, again.x_seq)
    assert first.targets.tolist() == [1, 3, 5], "rows are read in order"
    assert first.x_seq.shape == (3, 3, 2, 5, 6)
    assert not torch.equal(first.x_seq, Batches(data(), PROCESSES).make(rows, 5).x_seq)
    assert not torch.equal(first.x_seq, Batches(data(seed=1), PROCESSES).make(rows, 4).x_seq)


def test_outliers_join_each_batch() -> None:
    given = data(rotate=0.0, drop=0.0)
    given.outliers = Frames(np.ones((4, 3, 2, 5, 6), np.uint8), np.full(4, 8))
    batch = Batches(given, PROCESSES).make(np.array([2, 7, 0, 4]), 1)
    assert batch.targets.tolist() == [0, 2, 4, 7, 8, 8]
    assert batch.x_seq.shape == (3, 6, 2, 5, 6)
    assert bool(batch.x_seq[:, 4:, :, 1:-1, 1:-1].all()), "all of what they show, but for the shift"
    alone = Batches(data(rotate=0.0, drop=0.0), PROCESSES).make(np.array([2, 7, 0, 4]), 1)
    assert alone.targets.tolist() == [0, 2, 4, 7]


def test_slow_rows_are_read_one_step_ahead_and_give_the_same() -> None:
    slow = data(slow=True)
    ahead, plain = Batches(slow, PROCESSES), Batches(data(), PROCESSES)
    order = [np.array([n, n + 1]) for n in range(4)]
    for step, rows in enumerate(order):
        later = order[step + 1] if step + 1 < len(order) else None
        taken, wanted = ahead.take(rows, step, later), plain.take(rows, step, later)
        assert taken.step == step
        assert torch.equal(taken.x_seq, wanted.x_seq)
        assert torch.equal(taken.targets, wanted.targets)
    assert slow.train.frames.read == [rows.tolist() for rows in order], "each once"
    ahead.take(order[0], 0, order[1])
    assert ahead.take(order[3], 5).targets.tolist() == [3, 4], "what was made for another step is not taken"


def test_images_are_scaled_then_normalised_where_they_are_fed_as_they_are() -> None:
    stored = torch.full((1, 1, 3, 4, 4), 255, dtype=torch.uint8)
    x_seq = evaluation_input(stored, IMAGES)
    assert x_seq.shape == (2, 1, 3, 4, 4)
    assert x_seq[0, 0, :, 0, 0].tolist() == pytest.approx([2.0, 1.5, 1.0])
    spikes = evaluation_input(stored, replace(IMAGES, encoding="rate"))
    assert spikes.unique().tolist() == [1.0], "a code of spikes is not normalised"


@pytest.mark.parametrize("chance", [-1.0, 0.0, 0.5, 1.0])
def test_membranes_of_other_samples_are_carried_by_chance(chance: float) -> None:
    state = {"v": torch.full((600, 2), 9.0)}
    last = {"v": torch.arange(1.0, 601).view(600, 1).expand(600, 2), "w": torch.arange(1.0, 601).view(600, 1, 1)}
    got = carried_state(state, last, chance, seeded(0))
    if chance <= 0:
        assert got is state
        return
    first = got["v"][:, 0]
    kept = first[first > 0]
    assert len(kept) / 600 == pytest.approx(chance, abs=0.1)
    assert len(kept.unique()) == len(kept), "each of another sample"
    assert (first != last["v"][:, 0]).float().mean() > 0.9
    assert torch.equal(got["v"][:, 1], first)
    assert torch.equal(got["w"].flatten(), first)
    assert carried_state(state, None, chance, seeded(0)) is state


CPU = torch.device("cpu")


def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1, 1), (4, 8), in_channels=2, classes=3))


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def test_the_firing_rate_is_the_mean_of_the_layers() -> None:
    net, seen = network().eval(), []
    for module in net.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: seen.append(float(spikes.detach().mean())))
    out = Trainee(net, TrainConfig(spike_penalty=0.1), CPU)(events(), {})
    assert float(out.firing_rate.detach()) == pytest.approx(sum(seen) / len(seen))
    assert float(Trainee(net, TrainConfig(), CPU)(events(), {}).firing_rate) == 0


OPTIONS = {
    "smooth": {"label_smoothing": 0.1},
    "bf16": {"precision": "bf16"},
    "plif": {"carry": 0.5, "neuron": "plif"},
    "sgd-step": {"optimiser": "sgd", "schedule": "step", "lr": 0.05, "neuron": "if"},
    "clif": {"neuron": "clif", "scale": 0.3, "flip": True},
    "psn": {"neuron": "psn", "loss": "mean", "carry": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_an_epoch(name: str, root: Path) -> None:
    config = small_config(root, epochs=1, name=f"option-{name}", **OPTIONS[name])
    metrics = fit(config, root / "runs" / config.name)
    assert metrics["test"]["count"] == 6
    assert (root / "runs" / config.name / "model" / "config.json").is_file()
