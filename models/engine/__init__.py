"""Event-driven inference on the CPU: a network planned once, then run step by step by the native library.

`engine`, and `plain`, PyTorch in its place; `taught`, the head of a taught network; `plan` with `plan_resnet` and
`plan_converted`; `structs` shared with C++; `densities`, by which kernels are chosen, and `calibrate`, which measures
them.
"""
