"""The web page, in plain HTML, CSS and JavaScript without a build step: `live` uses this service, `offline` runs in the
browser alone, `shared` has modules of both. Each index.html is served, or written, one folder above its modules.
"""
