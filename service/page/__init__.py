"""The web page, in plain HTML, CSS and JavaScript without a build step: `live` uses this service; `shared`
has modules that the page without a server (models/export/web) has, too. Both pages are made of live/index.html, which
is served, or written, one folder above its modules.
"""
