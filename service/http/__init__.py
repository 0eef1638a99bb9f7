"""What every request passes: the server, the gate, logs, metrics, errors and bodies.

`server`, `connection`, `gate`, `fast_path`, `logs`, `metrics`, `errors`, `bodies`.
"""
