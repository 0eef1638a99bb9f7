"""From stored samples to the network's input: augmentation, normalisation and encoding of one batch."""

import torch
from torch import Tensor

from encoders.image import IMAGE_ENCODERS
from models.checkpoint import Contract
from training.augment import augment, crop_middle, move_images
from training.config import TrainConfig


def training_input(stored: Tensor, config: TrainConfig, contract: Contract, generator: torch.Generator) -> Tensor:
    """uint8 [N, T or 1, C, H, W] to augmented x_seq float32 [T, N, C, H, W]."""
    if contract.kind == "events":
        return augment(stored.float(), config, generator).transpose(0, 1).contiguous()
    images = move_images(stored[:, 0].float() / 255, config, (contract.height, contract.width), generator)
    return encode(images, contract, generator)


def evaluation_input(stored: Tensor, contract: Contract) -> Tensor:
    """uint8 [N, T or 1, C, H, W] to x_seq float32 [T, N, C, H, W]; random encodings draw alike each time."""
    if contract.kind == "events":
        return stored.transpose(0, 1).float()
    images = crop_middle(stored[:, 0].float() / 255, (contract.height, contract.width))
    return encode(images, contract, torch.Generator(images.device).manual_seed(0))


def encode(images: Tensor, contract: Contract, generator: torch.Generator) -> Tensor:
    """Images [N, C, H, W] in [0, 1] to x_seq [T, N, C, H, W] as the contract says."""
    if contract.mean and contract.encoding == "direct":
        mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (contract.mean, contract.std))
        images = (images - mean) / std
    encoder = IMAGE_ENCODERS[contract.encoding](contract.steps)
    if generator.device != images.device:  # the same draws on every device
        return encoder(images.cpu(), generator=generator).to(images.device)
    return encoder(images, generator=generator)
