"""The service under load, beside other servers.

`load` the benchmark; `clients`, `streams`, `work`, `peers`.
"""
