"""What a job runs on, reported by the child for the kinds whose library function does not report it itself."""

from __future__ import annotations

from worker import protocol
from worker.messages import Messages


def report_environment(messages: Messages, device: str, *, computes: bool = True) -> None:
    """Sends the environment of this process. Loads torch.

    Args:
        device: as the spec names it: `auto`, `cpu` or `cuda`.
        computes: whether the job runs a network, and so a kernel backend.
    """
    import torch

    from addercore.devices import resolve_device
    from addercore.ops.registry import select
    from addercore.train.environment import describe

    target = resolve_device(device)
    chosen = select(target, torch.float32) if computes else None
    environment = describe(target, chosen.backend if chosen else None, chosen.note if chosen else None)
    messages.send(protocol.Environment(environment=environment))
