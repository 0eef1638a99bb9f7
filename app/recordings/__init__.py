"""The words of `spikesight` about recordings, a module each.

`info`, `transcode`, `play`, `record`, `emulate`; `virtual_camera` sends what is played.
"""
