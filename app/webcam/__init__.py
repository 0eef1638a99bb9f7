"""Live predictions on the desktop.

`demo` is the command, `overlay` draws the picture, `window` shows it, `counting` counts crossing objects.
"""
