"""Commands of `spikesight` about networks and the service, one module each.

`serve`, `train`, `models`, `convert`, `predict`, `export`, `doctor`.
"""
