"""Users' uploads, which are not trusted: an archive, arrays or a table of images becomes one canonical file.

`take_in` reads an upload twice, with bounds on time, memory and disk: first to check every image and label and to name
what is wrong, then to write. Nothing in it is unpickled, executed, or written under a name from the upload.
"""

from addercore.data.intake.intake import Intake, take_in
from addercore.data.intake.limits import Limits
from addercore.data.intake.problems import BadDataset

__all__ = ["BadDataset", "Intake", "Limits", "take_in"]
