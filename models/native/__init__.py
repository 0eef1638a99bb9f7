"""C++ sources, their build, and the C allocator.

`build` compiles them once a machine; `memory` keeps freed tensors from going back to the system; `threads` says how
many share a call's work.
"""
