"""All T steps of a neuron layer in one native pass, with a hand-written backward: what training spends its time on.

The forward pass gives the plain loop's spikes and states bit for bit. The backward pass recomputes the potentials from
the input, the only thing it keeps, so the layer's memory is that of its input and output (a plain loop keeps every
intermediate potential and spike). There is no second derivative.
"""

import ctypes
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.engine_library import NUMBER, REAL, library
from models.surrogate import SURROGATES

if TYPE_CHECKING:
    from models.neurons import NeuronConfig

PARALLEL_ELEMENTS = 1 << 17  # below, one thread: starting another costs more than it saves
STREAM_ELEMENTS = 1 << 23  # above, outputs would not stay in a cache: they are written past it


class NativeNeurons(ctypes.Structure):
    """`Neurons` of native/neuron.cpp."""

    _fields_ = [
        *(
            (n, NUMBER)
            for n in ("steps", "count", "delay", "zero", "inclusive", "detach", "learns", "scaled", "surrogate")
        ),
        *((n, REAL) for n in ("beta", "theta", "gain", "slope")),
        ("threads", NUMBER),
        ("stream", NUMBER),
    ]


def can_fuse(x_seq: Tensor) -> bool:
    """Whether the native pass takes this input: floats on the CPU, outside of tracing and vmap, kernels at hand."""
    return (
        x_seq.device.type == "cpu"
        and x_seq.dtype in (torch.float32, torch.bfloat16)
        and x_seq.numel() > 0
        and not torch.compiler.is_compiling()
        and type(x_seq) in (Tensor, torch.nn.Parameter)
        and library() is not None
    )


def _describe(config: "NeuronConfig", beta: float, learns: bool, x_seq: Tensor) -> NativeNeurons:
    elements = x_seq.numel()
    return NativeNeurons(
        x_seq.shape[0],
        elements // x_seq.shape[0],
        config.delay,
        config.reset == "zero",
        config.inclusive,
        config.detach_reset,
        learns,
        config.scale_input,
        list(SURROGATES).index(config.surrogate),
        beta,
        config.theta,
        1 - beta if config.scale_input else 1.0,
        config.spike_function().slope,  # type: ignore[attr-defined]
        torch.get_num_threads() if elements >= PARALLEL_ELEMENTS else 1,
        elements >= STREAM_ELEMENTS,
    )


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, before: Tensor | None, beta: Tensor | None, config: "NeuronConfig"
    ) -> tuple[Tensor, Tensor]:
        lib = library()
        assert lib is not None
        leak = config.beta if beta is None else float(beta)
        call = _describe(config, leak, beta is not None, x_seq)
        spikes, after = torch.empty_like(x_seq), torch.empty_like(x_seq[0])
        lib.neurons_forward(
            ctypes.addressof(call), x_seq.data_ptr(), _address(before), spikes.data_ptr(), after.data_ptr()
        )
        ctx.save_for_backward(x_seq, before)
        ctx.call, ctx.learns = call, beta is not None
        ctx.set_materialize_grads(False)
        return spikes, after

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x_seq, before = ctx.saved_tensors
        lib = library()
        assert lib is not None
        dspikes, dafter = (None if g is None else g.contiguous() for g in gradients)
        dx = torch.empty_like(x_seq)
        dbefore = torch.empty_like(before) if before is not None and ctx.needs_input_grad[1] else None
        dbeta = lib.neurons_backward(
            ctypes.addressof(ctx.call),
            x_seq.data_ptr(),
            _address(before),
            _address(dspikes),
            _address(dafter),
            dx.data_ptr(),
            _address(dbefore),
        )
        return dx, dbefore, torch.tensor(dbeta, dtype=x_seq.dtype) if ctx.learns else None, None


def fused_steps(
    x_seq: Tensor, before: Tensor | None, config: "NeuronConfig", beta: float | Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All steps of `models.neurons.step`: x_seq [T, ...] and the state before them (None: zeros) to (spikes, state).

    Any memory order is kept. bfloat16 input is integrated in float32, and its spikes are bfloat16. Only where
    `can_fuse` says so.
    """
    if x_seq.dtype != torch.float32:
        spikes, after = fused_steps(x_seq.float(), None if before is None else before.float(), config, beta)
        return spikes.to(x_seq.dtype), after
    if x_seq.ndim == 5 and not x_seq.is_contiguous() and x_seq.movedim(2, -1).is_contiguous():  # channels last
        moved = None if before is None else before.movedim(1, -1)
        spikes, after = fused_steps(x_seq.movedim(2, -1), moved, config, beta)
        return spikes.movedim(-1, 2), after.movedim(-1, 1)
    before = None if before is None else before.float().contiguous()
    learnt = beta if isinstance(beta, Tensor) else None
    return _Fused.apply(x_seq.contiguous(), before, learnt, config)  # type: ignore[return-value]
