"""What a job is: settings, spec, states, tables, repository and artifact store, shared by `api` and `worker`."""
