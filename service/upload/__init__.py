"""One uploaded image or recording: decoded, then classified or encoded.

`predict`, `encode`; `load` bytes to a sample to inputs; `decode` what a process of its own runs; `multipart` forms.
"""
