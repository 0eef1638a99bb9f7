"""What the benchmarks share.

`timing` of pairs, a `report` of what was measured as JSON, networks at given firing `rates`, `networks` of other
libraries.
"""
