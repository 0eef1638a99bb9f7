"""Live streams over WebSockets, and cameras that the service opens itself.

`protocol` is the core without I/O, built on `messages`; `endpoint`, `live` and `cameras` connect it to sockets and
sources.
"""
