"""From `x_seq` [T, N, C, H, W] to logits [T, N, K]: spiking networks, conversion, the engine, checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
