"""The service under load.

`load` and `camera` are the benchmarks; `clients`, `streams` and `work` are their parts.
"""
