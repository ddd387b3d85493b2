"""Every query of the service, by concern. Functions take an open transaction; the caller commits (`Database.write`).

- `lifecycle`: what users do with jobs: submit, list, show, cancel, pause, resume, retry, delete.
- `queue`: the order of the queue, and claims.
- `outlook`: reads what the forecast of the queue needs.
- `attempts`: what a worker writes of a job that it has claimed, under its fence.
- `recovery`: jobs of lost workers, unsent wake-ups, heartbeats.
- `history`: reads of a job's metrics, events, logs and artifacts.
- `finding`: lists of jobs and models: filters, search, order; objects by the ends of their ids.
- `indexing`: the words and numbers by which lists are searched and sorted.
- `keeping`: names, notes, labels, stars, aliases.
- `datasets`: users' datasets: versions, names in specs, and how an upload becomes ready.
- `models`: models, and which stored blobs are still in use.
"""
