"""The words of `spikesight` about recordings, a module each.

`info`, `transcode`, `play`, `record`, `emulate`; `virtual_camera` plays as a camera would, into `sinks`;
`explained` through a model.
"""
