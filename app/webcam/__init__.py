"""Live predictions on the desktop.

`demo` is the command and its window, `overlay` draws the picture, `counting` counts crossing objects.
"""
