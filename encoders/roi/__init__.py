"""What the network is shown: noise filtering, the user's window, and drawings tracked in frames.

`input_filter` is the whole stage before binning. `frame_tracker` finds drawings in a webcam's frames and links
`candidates` to `tracks`, of one drawing or of several. `alignment` centres and scales recordings and live streams.
"""
