"""Code that the benchmarks share.

Interleaved `timing`, a `report` of results as JSON, networks with given firing `rates`, and `networks` of other libraries.
"""
