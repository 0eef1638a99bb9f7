"""Compiled loops of the encoders, imported only where they are needed: numba takes its time.

Each module is named after the one that calls it; `emulator_numpy` is the emulator without numba.
"""
