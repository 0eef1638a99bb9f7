"""Batch norms folded into the convolution or linear layer in front of them, in double precision."""

import torch
from torch import Tensor, nn

Folded = tuple[Tensor, Tensor, nn.Conv2d]  # weight, bias, and the convolution they belong to


def fold(conv_bn: nn.Sequential) -> Folded:
    """Weight and bias of a convolution with its batch norm (running statistics) folded in, float64 inside."""
    conv, norm = conv_bn[0], conv_bn[1]
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.detach().double()
    bias = torch.zeros(weight.shape[0], dtype=torch.float64) if conv.bias is None else conv.bias.detach().double()
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = weight * scale[:, None, None, None]
        bias = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
    return weight.float(), bias.float(), conv


def folded(weight: Tensor, bias: Tensor, norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """w' = w gamma / sqrt(var + eps), b' = beta + (b - mean) gamma / sqrt(var + eps)."""
    gain, shift = norm_line(norm)
    return weight * gain.view(-1, *[1] * (weight.ndim - 1)), shift + bias * gain


def norm_line(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """(gain, shift) by channel of a batch norm in evaluation mode, in double precision."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded: train it with them")
    mean, var = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    gain = gamma / (var + norm.eps).sqrt()
    return gain, beta - mean * gain
