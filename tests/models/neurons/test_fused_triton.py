"""The GPU's kernels, run by Triton's interpreter on the CPU: spikes, states and gradients of the plain loop."""

import itertools
import os
from pathlib import Path

import pytest
import torch

from tests.support.networks import leaves, plain_passes, plain_steps
from tests.support.processes import in_fresh_process

os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is first imported
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch for GPUs): pip install triton")

from spikesight.models.neurons import fused_triton
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.fused import SURROGATES

OPTIONS = list(itertools.product(("subtract", "zero"), *[(False, True)] * 5))


@pytest.mark.parametrize(("number", "options"), list(enumerate(OPTIONS)))
def test_equals_the_plain_loop(number: int, options: tuple[str, bool, bool, bool, bool, bool]) -> None:
    """Options of reset, delay, inclusive, scale_input, detach_reset, learn_beta."""
    surrogate = SURROGATES[number // 2 % len(SURROGATES)]
    config = NeuronConfig(0.75, 0.75, *options, surrogate=surrogate)  # type: ignore[arg-type]
    plain = plain_passes(config, 3, (2, 5, 7))
    with torch.no_grad():
        out = fused_triton.forward(*plain.given, config)
        gradients = fused_triton.backward(*plain.given, *plain.behind, config)
    plain.expect(out, gradients if config.learn_beta else gradients[:2])


def test_half_precision_is_integrated_in_float32_over_several_blocks() -> None:
    config = NeuronConfig()
    x_seq = leaves(4, (fused_triton.BLOCK + 3,))[0].detach().bfloat16()
    exact = x_seq.float().requires_grad_()
    spikes, after = plain_steps(exact, torch.zeros_like(exact[0]), config)
    (gradient,) = torch.autograd.grad(spikes.sum(), exact)
    ours, ours_after = fused_triton.forward(x_seq, None, None, config)
    dx, dbefore, dbeta = fused_triton.backward(x_seq, None, None, torch.ones_like(x_seq), None, config)
    assert torch.equal(ours.float(), spikes)
    assert torch.equal(ours_after, after)
    torch.testing.assert_close(dx, gradient.bfloat16())
    assert (dbefore, dbeta) == (None, None)


CUBINS = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from spikesight.models.neurons import fused_triton as fused

NUMBERS = {"steps": "i32", "count": "i32", "beta": "fp32", "theta": "fp32", "slope": "fp32"}
FLOATS = ("x_at", "spikes_at", "dspikes_at", "dx_at")  # of the input's type; states are float32

def size(kernel, pointer, absent, **options):
    given, signature, constants = {**dict.fromkeys(absent), **options, "SIZE": fused.BLOCK}, {}, {}
    for number, name in enumerate(kernel.arg_names):
        if name in given:
            signature[name], constants[(number,)] = "constexpr", given[name]
        else:
            signature[name] = NUMBERS.get(name, pointer if name in FLOATS else "*fp32")
    source, target = ASTSource(kernel, signature, constants), GPUTarget("cuda", 90, 32)
    return len(triton.compile(source, target=target, options={"enable_fp_fusion": False}).asm["cubin"])

rule = {"DELAY": True, "ZERO": False, "INCLUSIVE": False, "SCALED": True}
other = {"DELAY": False, "ZERO": True, "INCLUSIVE": True, "SCALED": False}
print(all([
    size(fused._forward, "*fp32", ("before_at", "beta_at"), **rule),
    size(fused._forward, "*bf16", (), **other),
    size(fused._backward, "*fp32", ("beta_at", "dbeta_at"), DETACH=False, KIND=0, **rule),
    size(fused._backward, "*bf16", ("before_at", "dafter_at", "dbefore_at"), DETACH=True, KIND=4, **other),
]))
"""


def test_they_compile_for_a_gpu_where_there_is_none(tmp_path: Path) -> None:
    assert in_fresh_process(CUBINS, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)) == "True"
