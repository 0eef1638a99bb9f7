"""Event-driven inference on the CPU: a network is planned once, then the native library runs it step by step.

`engine` runs a network; `taught` is the head of a taught network; `plan`,
`plan_resnet` and `plan_converted` make native layers; `structs` are shared with C++.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the stable names
