"""Predictions over HTTP and WebSocket."""

import os

# A second limit on image size, behind the check of the header: OpenCV reads it once, when cv2 is imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**24))
