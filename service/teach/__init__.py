"""Classes taught live: a session collects examples, learns a head whenever enough have come, and serves it at once.

`session` is one session with its `examples` (cut by `windows`) and its `learner` of heads; `sessions` holds all of
them within limits. `routes` serves them over HTTP, `saving` writes models to folders and archives, and clients use
`bodies` and `remote`.
"""
