"""Training: data sets, augmentation, the training loop, comparisons of networks and reports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
