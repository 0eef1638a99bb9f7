"""The service under load, against other servers.

`load` and `camera` are the benchmarks; `clients`, `streams`, `work` and `peers` are their parts.
"""
