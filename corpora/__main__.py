"""Run a command of spikesight that knows the corpora as data sets.

python -m corpora train --config corpora/digits.yaml --root DATA
python -m corpora calibrate nmnist --root DATA
"""

import sys

from corpora.sets import register
from spikesight.app.cli import main

if __name__ == "__main__":
    register()
    sys.exit(main())
