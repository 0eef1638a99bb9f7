"""Frames and still images as the events of a simulated camera.

`pixels` the pixel model and the emulator; `saccades` a still image under a moving camera; `motions` drawn scenes.
"""
