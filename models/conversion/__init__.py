"""A trained ANN to a spiking network.

`ann_to_snn` by `methods`; `trace` and `operations` read the ANN; `thresholds`, `calibrate`, `audit`, `simulate`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
