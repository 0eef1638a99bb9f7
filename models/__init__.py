"""Spiking networks, conversion, inference engine and checkpoints: from `x_seq` [T, N, C, H, W] to logits [T, N, K]."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
