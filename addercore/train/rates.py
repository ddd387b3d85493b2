"""The learning rates of each step: functions of its place in the run, so that resuming is exact."""

from math import cos, pi

from addercore.config import OptimizerConfig


def share_of_rates(config: OptimizerConfig, epochs: int, step: int, steps_per_epoch: int) -> float:
    """What a step has of the learning rates `lr` and `filter_lr`, 0 to 1.

    The schedule goes by epochs: constant, or (1 + cos(π · epoch / epochs)) / 2, as in the paper's recipes. Warm-up goes
    by steps: the first has a share of one in all warm-up steps, the next one two, and so on up to the schedule's.

    Args:
        config: the optimizer's.
        epochs: of the run.
        step: of the run, from 0.
        steps_per_epoch: how many an epoch has.
    """
    epoch = step // steps_per_epoch
    scheduled = 1.0 if config.schedule == "constant" else (1 + cos(pi * epoch / epochs)) / 2
    rising = config.warmup_epochs * steps_per_epoch
    return scheduled if step + 1 >= rising else scheduled * (step + 1) / rising
