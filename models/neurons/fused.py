"""All T steps of a neuron layer in one pass with a hand-written backward pass, the hot loop of training.

The forward pass gives the plain loop's spikes and states bit for bit. The backward pass recomputes the potentials from
the input, so the layer keeps only its input and output in memory (a plain loop keeps every intermediate potential and
spike). There is no second derivative.
"""

import ctypes
import importlib.util
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikesight.encoders.native.build import NUMBER, REAL, library

if TYPE_CHECKING:
    from spikesight.models.neurons.config import NeuronConfig

PARALLEL_ELEMENTS = 1 << 17  # smaller inputs use one thread: starting another costs more than it saves


class NativeNeurons(ctypes.Structure):
    """The C structure `Neurons` of native/neuron.cpp."""

    _fields_ = [
        *(
            (n, NUMBER)
            for n in ("steps", "count", "delay", "zero", "inclusive", "detach", "learns", "scaled", "surrogate")
        ),
        *((n, REAL) for n in ("beta", "theta", "gain", "slope")),
        ("threads", NUMBER),
    ]


SURROGATES = ("arctan", "fast_sigmoid", "triangular", "rectangular")
"""The surrogates that the kernels support, in the order of the kernels' numbers."""


def can_fuse(x_seq: Tensor, config: "NeuronConfig") -> bool:
    """Return whether a fused pass supports these neurons and this input: a supported surrogate, float32 or bfloat16, no
    compilation and no subclass of Tensor, and kernels for the device.
    """
    return (
        config.surrogate in SURROGATES
        and x_seq.dtype in (torch.float32, torch.bfloat16)
        and x_seq.numel() > 0
        and not torch.compiler.is_compiling()
        and type(x_seq) in (Tensor, torch.nn.Parameter)
        and _has_kernels(x_seq.device.type)
    )


def _has_kernels(device: str) -> bool:
    return library() is not None if device == "cpu" else device == "cuda" and _has_triton()


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _describe(config: "NeuronConfig", learnt: Tensor | None, x_seq: Tensor) -> NativeNeurons:
    elements, beta = x_seq.numel(), config.beta if learnt is None else float(learnt)
    return NativeNeurons(
        x_seq.shape[0],
        elements // x_seq.shape[0],
        config.delay,
        config.reset == "zero",
        config.inclusive,
        config.detach_reset,
        learnt is not None,
        config.scale_input,
        SURROGATES.index(config.surrogate),
        beta,
        config.theta,
        1 - beta if config.scale_input else 1.0,
        config.spike_function().slope,  # type: ignore[attr-defined]
        torch.get_num_threads() if elements >= PARALLEL_ELEMENTS else 1,
    )


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _Native:
    """The passes on the CPU; models/neurons/fused_triton.py has the same two functions for a GPU."""

    @staticmethod
    def forward(
        x_seq: Tensor, before: Tensor | None, beta: Tensor | None, config: "NeuronConfig"
    ) -> tuple[Tensor, Tensor]:
        lib, call = library(), _describe(config, beta, x_seq)
        assert lib is not None
        spikes, after = torch.empty_like(x_seq), torch.empty_like(x_seq[0])
        lib.neurons_forward(ctypes.addressof(call), *map(_address, (x_seq, before, spikes, after)))
        return spikes, after

    @staticmethod
    def backward(
        x_seq: Tensor,
        before: Tensor | None,
        beta: Tensor | None,
        dspikes: Tensor | None,
        dafter: Tensor | None,
        config: "NeuronConfig",
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        lib, call = library(), _describe(config, beta, x_seq)
        assert lib is not None
        dx = torch.empty_like(x_seq)
        dbefore = None if before is None else torch.empty_like(before)
        tensors = x_seq, before, dspikes, dafter, dx, dbefore
        dbeta = lib.neurons_backward(ctypes.addressof(call), *map(_address, tensors))
        return dx, dbefore, None if beta is None else torch.tensor(dbeta, dtype=torch.float32)


def _passes(device: torch.device) -> Any:
    if device.type == "cpu":
        return _Native
    from spikesight.models.neurons import fused_triton  # Triton is only installed on machines with a GPU

    return fused_triton


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, before: Tensor | None, beta: Tensor | None, config: "NeuronConfig"
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x_seq, before, beta)
        ctx.config = config
        ctx.set_materialize_grads(False)
        return _passes(x_seq.device).forward(x_seq, before, beta, config)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x_seq, before, beta = ctx.saved_tensors
        dspikes, dafter = (None if g is None else g.contiguous() for g in gradients)
        dx, dbefore, dbeta = _passes(x_seq.device).backward(x_seq, before, beta, dspikes, dafter, ctx.config)
        return dx, dbefore, dbeta, None


def fused_steps(
    x_seq: Tensor, before: Tensor | None, config: "NeuronConfig", beta: float | Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run all steps of `layers.step`: x_seq [T, ...] and the state before (None: zeros) to (spikes, state).

    Any memory order is kept. bfloat16 input is integrated in float32, and its spikes are bfloat16. Call it only if
    `can_fuse` is true.
    """
    if x_seq.dtype != torch.float32 and x_seq.device.type == "cpu":
        spikes, after = fused_steps(x_seq.float(), None if before is None else before.float(), config, beta)
        return spikes.to(x_seq.dtype), after
    if x_seq.ndim == 5 and not x_seq.is_contiguous() and x_seq.movedim(2, -1).is_contiguous():  # channels last
        moved = None if before is None else before.movedim(1, -1)
        spikes, after = fused_steps(x_seq.movedim(2, -1), moved, config, beta)
        return spikes.movedim(-1, 2), after.movedim(-1, 1)
    before = None if before is None else before.float().contiguous()
    learnt = beta if isinstance(beta, Tensor) else None
    return _Fused.apply(x_seq.contiguous(), before, learnt, config)  # type: ignore[return-value]
