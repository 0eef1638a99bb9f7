"""Predictions over HTTP and WebSocket."""

import os

# The second lock on images, behind the one on their headers: OpenCV reads it once, when cv2 is imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", os.environ.get("SPIKESIGHT_MAX_PIXELS", str(2**24)))
