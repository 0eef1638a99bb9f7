"""Emulate an event camera: frames and still images become events. `pixels`: pixel model and emulator; `saccades`: a
still image before a moving camera.
"""
