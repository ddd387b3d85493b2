"""Roles, each of which may do what those before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a key may do."""

    VIEWER = "viewer"
    """Read everything of its project, stream, download."""
    MEMBER = "member"
    """Also submit, steer, delete, upload, import, predict, label."""
    ADMIN = "admin"
    """Also keys, audit and usage of its project."""
    OPERATOR = "operator"
    """Also the service: projects and their limits, workers, metrics, every project."""

    def includes(self, other: Role) -> bool:
        """Whether who has this role may do what the other one may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)
