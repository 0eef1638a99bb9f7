"""Surrogates: symmetry, area, finiteness, and an exact forward step."""

import math

import pytest
import torch

from spikesight.models.neurons.surrogate import SURROGATES, spike

AREAS = {"fast_sigmoid": lambda slope: 2 / slope}  # of the others it is 1
ALL = pytest.mark.parametrize("name", SURROGATES)


@ALL
def test_even_finite_and_highest_at_the_threshold(name: str) -> None:
    surrogate = SURROGATES[name]()
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = torch.linspace(-100, 100, 4001).to(dtype)
        d = surrogate.derivative(x)
        assert d.dtype == dtype
        assert d.isfinite().all()
        assert torch.equal(d, surrogate.derivative(-x))
        assert d.max() <= surrogate.derivative(torch.zeros(1, dtype=dtype))


@ALL
@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_area(name: str, slope: float) -> None:
    x = torch.cat([torch.zeros(1), torch.logspace(-5, math.log10(2000), 50_000, dtype=torch.float64)])
    surrogate = SURROGATES[name](slope)
    area = 2 * float(torch.trapezoid(surrogate.derivative(x), x))  # it is even
    assert math.isclose(area, AREAS.get(name, lambda _: 1)(slope), rel_tol=2e-3)


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
