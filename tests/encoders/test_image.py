"""image: golden vectors and the properties of each code."""

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from spikesight.encoders.image import IMAGE_ENCODERS, Direct, FirstSpike, Latency, Rate

X = torch.tensor([1, 0.5, 0.25, 0.1, 0.02, 0.011, 0.01, 0.005, 0])


def steps_of(x_seq: Tensor) -> list[int | None]:
    """The step of each input's only spike, None where there is none."""
    assert bool((x_seq.sum(0) <= 1).all())
    return [int(column.argmax()) if column.any() else None for column in x_seq.T]


def test_golden_latency() -> None:
    assert steps_of(Latency(10)(X)) == [0, 4, 7, 8, 9, 9, 9, 9, 9]
    assert steps_of(Latency(10, "log")(X)) == [0, 0, 0, 0, 1, 2, 9, 9, 9]
    assert steps_of(Latency(10, "log", clip=True)(X))[-2:] == [None, None]
    raw = [0.01005, 0.02020, 0.04082, 0.10536, 0.69315, 2.39790, 11.51, 11.51, 11.51]
    longest = math.log((0.01 + 1e-7) / 1e-7)
    assert (Latency(10, "log").times(X) * longest / 9).tolist() == pytest.approx(raw, abs=0.005)


MAKERS: dict[str, Any] = {"latency log": lambda steps: Latency(steps, "log"), **IMAGE_ENCODERS}


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_code_keeps_shape_dtype_and_input(name: str, dtype: torch.dtype) -> None:
    images = torch.rand((2, 3, 5, 4), generator=Generator().manual_seed(0), dtype=dtype)
    before = images.clone()
    encoder = MAKERS[name](6)
    x_seq = encoder(images, Generator().manual_seed(1))
    assert (x_seq.shape, x_seq.dtype) == ((6, 2, 3, 5, 4), dtype)
    assert torch.equal(images, before)
    assert torch.equal(x_seq, encoder(images, Generator().manual_seed(1)))
    if name == "direct":
        assert all(torch.equal(step, images) for step in x_seq)
    else:
        assert set(x_seq.unique().tolist()) <= {0.0, 1.0}
    assert encoder.decode(x_seq).shape == images.shape
    assert encoder(images[:0]).shape == (6, 0, 3, 5, 4)


@pytest.mark.parametrize("name", list(MAKERS))
def test_what_is_no_image_is_refused(name: str) -> None:
    encoder, images = MAKERS[name](6), torch.rand((2, 1, 3, 4), generator=Generator().manual_seed(0))
    for whole in ((255 * images).to(torch.uint8), (255 * images).long(), images > 0.5):
        with pytest.raises(ValueError, match="real numbers from 0 to 1"):
            encoder(whole)
    images[1, 0, 2, 3] = float("nan")
    with pytest.raises(ValueError, match="no numbers"):
        encoder(images)


def inverse(mapping: str, share: float) -> float:
    """The x whose spike comes after this share of the span, by the definition of its code."""
    if mapping == "linear":
        return 1 - share
    ratio = ((0.01 + 1e-7) / 1e-7) ** share
    return min(0.01 * ratio / (ratio - 1), 1) if share else 1.0


@pytest.mark.parametrize("mapping", ["linear", "log"])
def test_a_spikes_time_is_read_back_by_the_inverse(mapping: str) -> None:
    x_seq = torch.eye(7, dtype=torch.float64)
    x = [inverse(mapping, t / 6) for t in range(7)]
    encoder = Latency(7, mapping)
    assert encoder.decode(x_seq).tolist() == pytest.approx(x, rel=1e-9, abs=1e-12)
    assert encoder.decode(x_seq * 0).tolist() == [0] * 7
    assert encoder.times(torch.tensor(x, dtype=torch.float64)).tolist() == pytest.approx(list(range(7)), abs=0.006)


@pytest.mark.parametrize("encoder", [*(Latency(50, name) for name in ("linear", "log"))])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_code_in_half_precision_is_read_back_as_exactly(encoder: Any, dtype: torch.dtype) -> None:
    x_seq = encoder(torch.linspace(0, 1, 101))
    assert torch.equal(encoder.decode(x_seq.to(dtype)), encoder.decode(x_seq.double()).to(dtype))


def test_other_codes_are_read_back_to_the_digit() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    assert FirstSpike(5).decode(eye).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert FirstSpike(1).decode(eye[:1, :2]).tolist() == [1, 0]
    assert Direct(5).decode(eye).tolist() == [0.2] * 5


def test_below_the_threshold_nothing_is_sent() -> None:
    assert steps_of(FirstSpike(5, threshold=0.5)(torch.tensor([0.5, 0.4999, 1.0]))) == [2, None, 0]


@pytest.mark.parametrize("mapping", ["linear", "log"])
def test_the_darkest_input_is_last_however_many_steps_there_are(mapping: str) -> None:
    assert Latency(1000, mapping)(torch.zeros(1)).squeeze().nonzero().tolist() == [[999]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rare_spikes_are_as_rare_in_half_precision(dtype: torch.dtype) -> None:
    p, n = 2.0**-10, 2**18
    spikes = Rate(n)(torch.tensor([p], dtype=dtype), Generator().manual_seed(0))
    assert float(spikes.float().mean()) == pytest.approx(p, abs=4 * (p / n) ** 0.5)


def test_rate_is_right_in_the_mean() -> None:
    x = torch.tensor([0.0, 0.1, 0.5, 0.93, 1.0])
    n = 20_000
    spikes = Rate(n)(x, Generator().manual_seed(0))
    bound = 4 * (x * (1 - x) / n).sqrt()
    assert bool(((spikes.mean(0) - x).abs() <= bound).all())
    assert float(spikes[:, 0].sum()) == 0
    assert float(spikes[:, -1].sum()) == n
