"""Users' uploads, which are not trusted: an archive, arrays or a table of images becomes one canonical file.

`take_in` reads an upload twice, with bounds on time, memory and disk: first to check every image and label and to name
what is wrong, then to write. Nothing in it is unpickled, executed, or written under a name from the upload.

Names are resolved on first use (PEP 562): predictions read images by parts of this package, of which `ranges` and
`limits` need no Pillow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addercore.data.intake.intake import Intake as Intake
    from addercore.data.intake.intake import take_in as take_in
    from addercore.data.intake.limits import Limits as Limits
    from addercore.data.intake.problems import BadDataset as BadDataset

_HOME = {"BadDataset": "problems", "Intake": "intake", "Limits": "limits", "take_in": "intake"}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"addercore.data.intake.{_HOME[name]}"), name)
    raise AttributeError(f"module 'addercore.data.intake' has no attribute {name!r}")
