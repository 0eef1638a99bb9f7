"""Fold batch norms into the convolution or linear layer before them, in double precision."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Folded = tuple[Tensor, Tensor, nn.Conv2d]  # folded weight and bias, and their convolution


def fold(conv_bn: nn.Sequential) -> Folded:
    """Return a convolution's weight and bias with the batch norm behind it, if there is one, folded in."""
    conv, norm = conv_bn[0], conv_bn[1]
    assert isinstance(conv, nn.Conv2d)
    weight, bias = weight_and_bias(conv)
    if isinstance(norm, nn.BatchNorm2d):
        weight, bias = folded(weight, bias, norm)
    return weight.float(), bias.float(), conv


def weight_and_bias(layer: nn.Conv2d | nn.Linear) -> tuple[Tensor, Tensor]:
    """Return weight and bias in double precision; a missing bias is zero."""
    weight = layer.weight.detach().double()
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()


def folded(weight: Tensor, bias: Tensor, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return w' = w gamma / sqrt(var + eps) and b' = beta + (b - mean) gamma / sqrt(var + eps)."""
    gain, shift = norm_line(norm)
    return weight * gain.view(-1, *[1] * (weight.ndim - 1)), shift + bias * gain


def norm_line(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return gain and shift of a batch norm in evaluation mode, by channel, in double precision."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded: train it with them")
    mean, var = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    gain = gamma / (var + norm.eps).sqrt()
    return gain, beta - mean * gain
