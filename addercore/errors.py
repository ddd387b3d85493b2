"""What can go wrong with a user's data, model or training run: one small tree, torch-free.

A wrong argument is a ``ValueError`` (see `addercore.config.InvalidConfig`); the errors here are about things outside
the call: files, stored models, numbers that blew up.
"""


class AdderError(Exception):
    """Base class of every error that addercore raises on its own account."""


class BadData(AdderError):
    """A dataset is missing, truncated or not what its format promises; the message names the file and the remedy."""


class Diverged(AdderError):
    """The training loss became NaN or infinite; the metrics up to that step were delivered first."""


class CheckpointError(AdderError):
    """A checkpoint cannot be read, is damaged, or belongs to another configuration."""


class LoaderLost(AdderError):
    """Somebody ended a data-loader process: nothing is wrong with the run, it can go on from its last checkpoint."""


class Stopped(AdderError):
    """The callbacks asked to stop before there was a result."""


class BadModel(AdderError):
    """A model file is damaged, or its manifest and its tensors disagree."""
