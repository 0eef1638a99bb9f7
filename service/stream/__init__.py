"""Live streams over WebSockets, and cameras the service opens itself.

`protocol` is the core without I/O, on `session`, `messages` and `snapshot`; `endpoint`, `live`, `outbox` and `cameras`
connect it.
"""
