"""Live streams over WebSockets, and cameras the service opens itself.

`endpoint`, `live`, `session`, `messages`, `snapshot`, `outbox`, `cameras`.
"""
