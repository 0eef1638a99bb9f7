"""Live event sources by one string each: cameras, networks, files.

`source` opens and runs one; `address` its parts; `devices`, `network` and `file` hold the drivers.
`chunks` is what a model is shown: webcams, videos, recordings and the shipped `samples` as well.
"""
