"""Region of interest: noise filtering, and detection and tracking of drawings in windows.

`input_filter` is the whole stage before binning. `frame_tracker` finds drawings in frames, `event_tracker` in events;
both link `candidates` to `tracks`, of one drawing or of several, each with a `window`. `alignment` centres and scales
recordings and live streams.
"""
