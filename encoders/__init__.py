"""Convert what a camera, a file or an image gives into events and into `x_seq` [T, N, C, H, W]."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
