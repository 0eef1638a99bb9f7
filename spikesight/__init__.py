"""Spikesight in Python: load a model, show it a recording, an image or a camera, and read its answers.

  import spikesight
  model = spikesight.load("nmnist")
  model.predict("walk.raw").label

Importing the package is quick: a module is loaded when one of its names is first used.
"""

from pathlib import Path

import lazy_loader

if not Path(__file__).with_name("models").is_dir():  # a checkout without symbolic links, or a source archive
    __path__.append(str(Path(__file__).parent.parent))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are those of __init__.pyi
