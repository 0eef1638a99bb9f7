"""The HTTP layer that every request passes: server, connections, access checks, logs, metrics, errors and bodies.

`server`, `connections` (who may open one, and which are open), `gate`, `shares`, `logs`, `metrics`, `errors`, `bodies`.
"""
