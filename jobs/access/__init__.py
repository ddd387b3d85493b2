"""Who may do what: projects, keys, roles, sessions, limits, accounting, audit.

- `scope`: for whom a transaction works. `Database.read` and `Database.write` ask for it.
- `criteria`: restricts every query of a project's transaction to that project.
- `tables`: the tables of this package.
"""
