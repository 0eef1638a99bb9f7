"""Convolutions of spikes for training: forward pass and weight gradient computed from events alone, exactly.

An absent spike adds nothing to an output or to a weight's gradient; only the gradient of the input is dense (a
surrogate gradient reaches silent neurons too). Sums run in another order than PyTorch's, so results agree to rounding.
`use_event_convolutions` replaces every suitable convolution by `EventConv2d`; for dense inputs, and on machines without
the native kernels, PyTorch's convolution runs.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesight.models.native.build import NUMBER, POINTER, library

FULL = {torch.float32: 0.3, torch.bfloat16: 0.1}
"""Input density from which on dense kernels of this dtype are faster, measured for 64 to 512 channels."""


class NativeEventConvolution(ctypes.Structure):
    """The C structure `EventConvolution` of native/event_convolution.cpp."""

    _fields_ = [
        *((n, NUMBER) for n in ("images", "height", "width", "inputs", "outputs", "chunk", "threads", "is_half")),
        *((n, POINTER) for n in ("x", "weight", "gradient", "out")),
    ]


def channels_last(x: Tensor) -> Tensor:
    """Return [M, C, H, W] as a contiguous [M, H, W, C]; no copy if the memory has that order already."""
    return x.permute(0, 2, 3, 1).contiguous()


def native_call(x: Tensor, outputs: int) -> NativeEventConvolution:
    """Return the native call's structure for x [M, H, W, C]; keep x alive as long as it."""
    images, height, width, inputs = x.shape
    threads = min(torch.get_num_threads(), images)
    call = NativeEventConvolution(images, height, width, inputs, outputs, 32 if outputs % 32 == 0 else 16, threads)
    call.is_half, call.x = x.dtype == torch.bfloat16, x.data_ptr()
    return call


class EventConvolution(torch.autograd.Function):
    """A 3x3 convolution, stride 1, padding 1: x [M, Ci, H, W] (mostly zero), weight [Co, Ci, 3, 3] -> [M, Co, H, W]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        last, outputs = channels_last(x.detach()), weight.shape[0]
        call = native_call(last, outputs)
        packed = weight.detach().float().flatten(2).unflatten(0, (-1, call.chunk)).permute(0, 2, 3, 1).contiguous()
        out = torch.empty(*last.shape[:3], outputs)
        call.weight, call.out = packed.data_ptr(), out.data_ptr()
        native = library()
        assert native is not None
        native.event_convolution_forward(ctypes.addressof(call))
        ctx.save_for_backward(last, weight)
        return out.to(x.dtype).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        last, weight = ctx.saved_tensors
        gradient, of_x, of_weight = channels_last(gradients[0]), None, None
        if ctx.needs_input_grad[0]:
            x, g = last.permute(0, 3, 1, 2), gradient.permute(0, 3, 1, 2)
            sizes = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False])
            of_x = torch.ops.aten.convolution_backward(g, x, weight.to(g.dtype), None, *sizes)[0]
        if ctx.needs_input_grad[1]:
            call, dense = native_call(last, weight.shape[0]), gradient.float()
            out = torch.empty(weight.shape[0] // call.chunk, weight.shape[1], 9, call.chunk)
            call.gradient, call.out = dense.data_ptr(), out.data_ptr()
            native = library()
            assert native is not None
            native.event_convolution_backward(ctypes.addressof(call))
            of_weight = out.permute(0, 3, 1, 2).reshape(weight.shape).to(weight.dtype)
        return of_x, of_weight


def density(x: Tensor) -> float:
    """Return the share of non-zero float32 or bfloat16 numbers; counting them as integers is 20 times as fast."""
    whole = x.detach().view(torch.int32 if x.dtype == torch.float32 else torch.int16)
    return int(whole.count_nonzero()) / x.numel()


class EventConv2d(nn.Conv2d):
    """A Conv2d that computes from events if its input is sparse; parameters have the same names as Conv2d's."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "EventConv2d":
        """Return an EventConv2d that shares the weight of `conv`."""
        made = cls(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)
        made.weight = conv.weight
        return made

    def forward(self, input: Tensor) -> Tensor:
        full = FULL.get(input.dtype)
        if (
            torch.compiler.is_compiling()
            or full is None
            or input.device.type != "cpu"
            or not input.numel()
            or self.weight.dtype != torch.float32
            or density(input) >= full
        ):
            return super().forward(input)
        return EventConvolution.apply(input, self.weight)  # type: ignore[return-value]


def fits(conv: nn.Conv2d) -> bool:
    """Return whether the event-driven form can replace this convolution and is faster: not a stem with few inputs."""
    form = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.bias)
    return form == ((3, 3), (1, 1), (1, 1), (1, 1), 1, None) and conv.out_channels % 16 == 0 and conv.in_channels >= 16


def use_event_convolutions(network: nn.Module) -> int:
    """Replace suitable convolutions in place and return their number; 0 without the native kernels."""
    if library() is None:
        return 0
    replaced = 0
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d and fits(child):
                setattr(module, name, EventConv2d.of(child))
                replaced += 1
    return replaced
