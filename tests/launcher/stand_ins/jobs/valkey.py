"""``python -m jobs.valkey --dir DIR --socket PATH``"""

import sys
from pathlib import Path

from jobs import live

Path(sys.argv[4]).touch()
live("broker")
