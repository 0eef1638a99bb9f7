"""Region of interest: noise filtering, and detection and tracking of drawings in windows.

`input_filter` is the whole stage before binning. `frame_tracker` tracks a drawing in frames, `event_tracker` in events
(with `event_map`, `confirmation`); both hold a `window`. `candidates`, `tracks` and `windows` follow several drawings
at once. `alignment` centres and scales recordings and live streams.
"""
