"""The library's own exceptions. They concern things outside a call: files, stored models, numbers that blow up.

A wrong argument is a `ValueError` instead (`addercore.config.InvalidConfig` for a configuration), or by its type a
`TypeError`. Loads no torch.
"""


class AdderError(Exception):
    """Base class of all errors that addercore defines."""


class BadData(AdderError):
    """A dataset is missing, truncated or not what its format promises; the message names the file and the remedy."""


class Diverged(AdderError):
    """The training loss became NaN or infinite. All metrics up to that step were reported before this is raised."""


class CheckpointError(AdderError):
    """A checkpoint cannot be read, is damaged, or belongs to another configuration."""


class LoaderLost(AdderError):
    """A data-loader process was ended from outside. The run itself is sound and can resume from its last checkpoint."""


class RankLost(AdderError):
    """One of the processes of a training was ended from outside, or the connection to it broke. The run itself is sound
    and can resume from its last checkpoint."""


class Stopped(AdderError):
    """`Callbacks.should_stop` asked to stop before there was a result."""


class BadModel(AdderError):
    """A model file is damaged, or its manifest and its tensors disagree."""


def expect(name: str, value: object, kind: type | tuple[type, ...], remedy: str) -> None:
    """Refuses an argument of another type in words; attributes that it lacks would be named otherwise.

    Raises:
        TypeError: `value` is no `kind`; the message ends with the remedy.
    """
    if not isinstance(value, kind):
        kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{name} must be of type {kinds}, got {type(value).__name__}; {remedy}")
