"""The REST routes, one concern a module: thin, from endpoint to repository."""
