"""Surrogates: golden derivatives, symmetry, area, finiteness, and an exact forward step."""

import math

import pytest
import torch

from spikesight.models.neurons.surrogate import (
    SURROGATES,
    Arctan,
    FastSigmoid,
    Rectangular,
    Sigmoid,
    Surrogate,
    Triangular,
    spike,
)

GOLDEN_X = torch.tensor([0.0, 0.04, 0.25, 0.5, 1.0])
GOLDEN: list[tuple[Surrogate, list[float]]] = [
    (Arctan(2), [1, 0.98445, 0.61849, 0.2884, 0.092]),
    (FastSigmoid(25), [1, 0.25, 0.019025, 0.005487, 0.0014793]),
    (Sigmoid(25), [6.25, 4.9153, 0.048076, 9.3166e-05, 3.472e-10]),
    (Sigmoid(4), [1, 0.99363, 0.78645, 0.41997, 0.070651]),
    (Triangular(1), [1, 0.96, 0.75, 0.5, 0]),
    (Rectangular(1), [1, 1, 1, 0, 0]),
]
AREAS = {"arctan": 1.0, "fast_sigmoid": 0.08, "sigmoid": 1.0, "triangular": 1.0, "rectangular": 1.0}
ALL = pytest.mark.parametrize("name", SURROGATES)


@pytest.mark.parametrize(("surrogate", "values"), GOLDEN)
def test_golden_values(surrogate: Surrogate, values: list[float]) -> None:
    expected = torch.tensor(values, dtype=torch.float32)
    for sign in (1, -1):
        torch.testing.assert_close(surrogate.derivative(sign * GOLDEN_X), expected, rtol=1e-4, atol=1e-12)


@ALL
def test_even_finite_and_highest_at_the_threshold(name: str) -> None:
    surrogate = SURROGATES[name]()
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = torch.linspace(-100, 100, 4001).to(dtype)
        d = surrogate.derivative(x)
        assert d.dtype == dtype
        assert d.isfinite().all()
        assert torch.equal(d, surrogate.derivative(-x))
    assert float(surrogate.derivative(torch.zeros(1))) == surrogate.peak
    assert float(surrogate.derivative(torch.linspace(-3, 3, 601)).max()) <= surrogate.peak


@ALL
def test_area(name: str) -> None:
    x = torch.linspace(-2000, 2000, 8_000_001, dtype=torch.float64)
    area = float(torch.trapezoid(SURROGATES[name]().derivative(x), x))
    assert math.isclose(area, AREAS[name], rel_tol=2e-3)


@ALL
@pytest.mark.parametrize("inclusive", [False, True])
def test_forward_is_the_step_and_backward_the_derivative(name: str, inclusive: bool) -> None:
    surrogate = SURROGATES[name]()
    x = torch.tensor([-1.0, -1e-7, 0.0, 1e-7, 1.0], requires_grad=True)
    s = spike(x, surrogate, inclusive=inclusive)
    assert s.tolist() == [0, 0, float(inclusive), 1, 1]
    s.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, surrogate.derivative(x.detach()))
