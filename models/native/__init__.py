"""Native kernels in C++ for networks, their training and their answers; control over memory and threads.

`kernels` is compiled with those for events into one library (encoders/native), and for browsers (benchmarks/wasm.py).
`memory` configures the C allocator and the garbage collector, `threads` says how many threads a kernel call may use.
"""
