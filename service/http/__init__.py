"""The HTTP layer that every request passes: server, connections, access checks, logs, metrics, errors and bodies.

`server`, `connection`, `gate`, `fast_path`, `logs`, `metrics`, `errors`, `bodies`.
"""
