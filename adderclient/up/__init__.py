"""``adder up``: the whole service on this machine, as processes that this one starts, watches and stops.

It imports nothing of the server; every part is a ``python -m …``. ``folder`` keeps the data folder to one service,
``processes`` knows how one child lives and dies, ``service`` which children there are and in which order.
"""

from adderclient.up.service import Options, UpError, run

__all__ = ["Options", "UpError", "run"]
