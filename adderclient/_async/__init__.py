"""The client, written once with `async` and `await`. `python -m adderclient.make_sync` writes `_sync/` from it."""
