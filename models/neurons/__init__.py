"""Neuron layers: configuration, update rules, surrogate gradients and fused kernels.

`config`: options; `state`: what is kept between steps; `layers`: modules; `surrogate`; `fused*`: all steps in one pass.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
