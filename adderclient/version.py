"""The version of the installed package, which the client sends with every request."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("adderworks")
