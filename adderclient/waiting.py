"""Looks at a job or a sweep until it has ended, as `wait` does; for programs that show each look."""

from adderclient._sync.waiting import looks
from adderclient.looking import Look

__all__ = ["Look", "looks"]
