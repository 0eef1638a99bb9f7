"""Code that the benchmarks share.

Interleaved `timing`, a `report` of results as JSON, networks with given firing `rates`, `networks` of other libraries.
"""
