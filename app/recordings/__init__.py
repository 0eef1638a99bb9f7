"""Commands of `spikesight` about recordings, one module each.

`info`, `transcode`, `play`, `record`, `emulate`.
"""
