"""Region of interest: noise is filtered, the drawing is found and tracked in a window.

`input_filter` is all before the bins; `frame_tracker` tracks in frames, `event_tracker` in events (`event_map`,
`confirmation`), both with a `window` that is held; `candidates`, `tracks` and `windows` follow several at once;
`alignment` centres whole recordings.
"""
