"""``python -m worker.inference``"""

from jobs import live

live("inference")
