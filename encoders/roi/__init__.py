"""What of a scene the network looks at: noise left out, the drawing found, a window that follows it.

`eye` all before the bins; `sight` frames, `activity` events, `window` the window; `alignment` of recordings.
"""
