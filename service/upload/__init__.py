"""One uploaded image or recording: decoded, then classified or encoded.

`predict`, `encode`, `decode`, `multipart` forms, `decoder_process` for hostile files.
"""
