"""Live predictions on the desktop.

`demo` the command; `overlay` what is drawn; `window`.
"""
