"""Classes taught live: a session collects examples, learns a head whenever enough have come, and serves it at once.

`sessions` holds them within limits, each with its `examples` and its newest head. `routes` serves them over HTTP,
`saving` writes models to folders and archives, and clients use `bodies`.
"""
