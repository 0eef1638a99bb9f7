"""Recordings of events on disk: readers and writers of all formats. `files` reads and writes by a file's content or
name; `format` is the interface; every other module is one format.
"""
