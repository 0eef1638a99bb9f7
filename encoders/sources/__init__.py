"""Live event sources by one string each: cameras, networks, files.

`source` opens and runs one; `address` its parts; `devices`, `network` and `file` hold the drivers.
`chunks` are the input of a model: webcams, videos, recordings and the shipped `samples` as well.
"""
