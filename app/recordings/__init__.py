"""Commands of `spikesight` about recordings, one module each.

`info`, `label`, `transcode`, `play`, `record`, `emulate`. `virtual_camera` plays a recording as a camera would, into
`sinks`; `explained` runs it through a model.
"""
