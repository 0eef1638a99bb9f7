"""What the benchmarks share.

`timing` of pairs, networks at given firing `rates`, `networks` of other libraries.
"""
