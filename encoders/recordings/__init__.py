"""Recordings of events on disk: readers and writers of all formats. `files` reads and writes by a file's content or
name; `format` is the interface, `columns` finds t, x, y and p in any table, `quality` judges what is being recorded;
every other module is one maker's formats.
"""
