"""Sweeps: ordinary jobs that vary a base spec, by a grid or by a search. A sweep holds no slot.

- `spec`: what a request may ask for.
- `planning`: the children's specs, and what is wrong with them.
- `search`: which trial next, and which to end early (optuna, loaded only when it is asked).
- `repository`: rows of sweeps and trials.
- `driver`: the one step that any process may do: read the children, submit the next, end the sweep.
- `summary`: the results as a table.
- `plot`: the results as a plot (SVG).
"""
