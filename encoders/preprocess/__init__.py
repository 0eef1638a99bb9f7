"""Preprocessing before any encoder: noise filters for events, downsampling of large sensors, detection of drawings in
pictures, and fitting of images to a network's input size."""
