"""The HTTP layer that every request passes: server, connections, access checks, logs, metrics, errors and bodies.

`server`, `door` (open connections), `gate`, `shares`, `logs`, `metrics`, `errors`, `bodies`.
"""
