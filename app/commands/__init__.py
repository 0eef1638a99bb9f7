"""The words of `spikesight` about networks and the service, a module each.

`serve`, `train`, `models`, `compare`, `convert`, `predict`, `export`, `doctor`.
"""
