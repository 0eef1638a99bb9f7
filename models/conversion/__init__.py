"""Conversion of a trained ANN into a spiking network: `ann_to_snn` runs one of the `methods`.

`trace` and `operations` read the ANN; `thresholds`, `calibrate` choose numbers; `simulate` runs it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
