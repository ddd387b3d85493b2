"""The installed version, which models and environments record."""

from importlib.metadata import version

__version__ = version("adderworks")
