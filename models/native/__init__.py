"""Control over memory and threads.

`memory` configures the C allocator and the garbage collector, `threads` says how many threads a kernel call may use.
"""
