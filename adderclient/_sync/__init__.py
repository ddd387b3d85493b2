"""The client that blocks, made from `_async/` by `python -m adderclient.make_sync`."""
