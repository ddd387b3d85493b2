"""Users' uploads, read with suspicion: an archive, arrays or a table of images becomes one canonical file.

`take_in` reads an upload twice, bounded in time, memory and disk whatever it holds: once to check every image and label
and name what is wrong, once to write. Nothing of it is unpickled, run, or written under a name of its own.
"""

from addercore.data.intake.intake import Intake, take_in
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import BadDataset

__all__ = ["BadDataset", "Intake", "Limits", "take_in"]
