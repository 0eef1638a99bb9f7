"""Native kernels in C++ for events, and the one library of these and of the kernels that run networks (models/native).

`build` finds or compiles the library and loads it, `targets` says for which systems and how.
"""
