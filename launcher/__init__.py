"""Starts server programs on this machine: the parts of the ``adder`` command that need the server installed.

``adder up``, ``adder demo``, ``adder backup``, ``adder restore``, ``adder worker start`` and ``adder datasets fetch``.
The package imports nothing of the server; every program is a ``python -m …`` of its own. ``commands`` declares the
commands, ``folder`` holds the data folder for one service at a time, ``processes`` starts and stops one child,
``service`` says which children the service consists of and in which order they start, ``demo`` runs the demo.
"""
