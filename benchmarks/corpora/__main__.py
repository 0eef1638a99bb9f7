"""Run a command of spikesight that knows the corpora as data sets.

python -m benchmarks.corpora train --config benchmarks/corpora/digits.yaml --root DATA
python -m benchmarks.corpora calibrate nmnist --root DATA
"""

import sys

from benchmarks.corpora.sets import register
from spikesight.app.cli import main

if __name__ == "__main__":
    register()
    sys.exit(main())
