"""Networks of those neurons, and the ANNs they are compared with or converted from.

`resnet`, `ann`, `stdp`, `event_convolution`; `folding` of batch norms; `converted/` what conversion gives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
