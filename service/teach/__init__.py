"""Classes taught live: a session takes examples, learns a head whenever enough have come, and serves it at once.

`session` is one session: its `examples` (cut by `windows`) and its `learner` of heads. `sessions` are all of them,
their limits and ends. `routes` serves them over HTTP, `saving` writes models to folders and archives; `bodies` and
`remote` are the client's side.
"""
