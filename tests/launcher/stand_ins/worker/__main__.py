"""``python -m worker``"""

import os

from jobs import live, note

note(f"worker has {os.environ['ADDER_BROKER_URL']} {os.environ['ADDER_INFERENCE_URL']}")
note(f"worker computes with {os.environ['ADDER_WORKER_THREADS']}")
live("worker")
