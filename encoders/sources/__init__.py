"""Live event sources, each addressed by one string: cameras, networks, files.

`source` opens and runs a source; `address` parses the string; `devices`, `network` and `file` are drivers.
`chunks` adds webcams, videos, recordings and the shipped `samples` as inputs of a model.
"""
