"""Uploads: one image or recording is decoded, then classified or encoded.

`predict` and `encode` answer the routes; `load` turns forms and bytes into inputs; `request` steps them.
"""
