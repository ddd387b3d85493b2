"""Sweeps: ordinary jobs that vary a base spec by a grid or a search. A sweep takes no slot itself.

- `spec`: what a request may ask for.
- `planning`: the specs of the jobs, and their errors.
- `search`: chooses the next trial, and which to end early (by optuna, which is loaded when it is needed).
- `repository`: rows of sweeps and trials.
- `driver`: the step that moves a sweep on: reads its jobs, submits the next ones, ends the sweep.
- `summary`: the results as a table.
- `plot`: the results as a plot (SVG).
"""
