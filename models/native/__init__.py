"""Native kernels in C++, and control over memory and threads.

`build` compiles and loads the kernels for `targets`, `wasm` compiles the engine for browsers, `memory` configures the C
allocator and the garbage collector, `threads` says how many threads a kernel call may use.
"""
