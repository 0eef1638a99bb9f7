"""Spiking networks, and the ANNs that they are compared with or converted from.

`resnet`, `ann`, `taught`, `imported`; `converted/`: from ANNs; `folding`; `metering`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
