"""Region of interest: noise is filtered, drawings are found and tracked, each in a window.

`input_filter` is all before the bins; `frame_tracker` finds in frames, `event_tracker` in events (`event_map`); both
follow what they find in `tracks`, one alone or several (`candidates`, `window`); `alignment` centres whole recordings.
"""
