"""Recordings of events on disk: one reader and writer for every format.

`files` reads and writes by a file's name and content; `format` what a format is; each other module is one format.
"""
