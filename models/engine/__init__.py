"""Event-driven inference on the CPU: a network planned once, then run step by step by the native library.

`engine`, and `plain`, PyTorch in its place; `taught`, the head of a taught network; `plan` with `plan_resnet` and
`plan_converted`; `structs` shared with C++; `densities`, by which kernels are chosen, and `autotune`, which measures
them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
