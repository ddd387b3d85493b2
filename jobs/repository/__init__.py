"""Every query of the service, by concern. Functions take an open transaction; the caller commits (`Database.write`).

- `lifecycle`: what a user does to a job: submit, list, show, cancel, pause, resume, retry, delete.
- `queue`: which job is next, and taking it.
- `outlook`: where each job stands in it, and what the forecast is made of.
- `attempts`: what a worker does to a job that it has claimed: write under its fence.
- `recovery`: what nobody asks for: lost workers, unsent wake-ups, heartbeats.
- `history`: what is read back of a job: metrics, events, logs, artifacts.
- `datasets`: users' datasets: versions, what a spec means by one, how an upload becomes ready.
- `models`: models, and which stored bytes are still referred to.
"""
