"""``python -m worker``"""

import os

from jobs import live, note

note(f"worker has {os.environ['ADDER_BROKER_URL']} {os.environ['ADDER_INFERENCE_URL']}")
live("worker")
