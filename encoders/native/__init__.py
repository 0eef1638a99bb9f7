"""Native kernels in C++: events, networks, training.

`build` finds or compiles the library and loads it, `targets` says for which systems and how. benchmarks/wasm.py
compiles `engine.wasm` for browsers.
"""
