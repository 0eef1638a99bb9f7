"""Anything a camera, a file or an image gives, turned into events and into `x_seq` [T, N, C, H, W]."""
