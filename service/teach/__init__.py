"""Classes taught live: a lesson takes examples, learns a head whenever some have come, and serves it at once.

`lesson` one of them; `lessons` all, their limits and ends; `turns` at the one thread they share; `routes` over HTTP;
`saving` to folders and archives; `bodies` and `remote` what clients know of them.
"""
