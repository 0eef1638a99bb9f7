"""The page, plain HTML, CSS and JavaScript without a build: `live` asks this service, `offline` runs in the browser
alone, both by the modules of `shared`. Each index.html is sent, or written, one folder above its modules."""
