"""Webhooks: what happens in a project is told to the addresses that it names, signed, until they have taken it.

`events.py` writes a delivery for each webhook in the transaction of the change, so that no crash loses one.
`sender.py` sends them from the API processes; `delivery_queue.py` says which are due and who has them.
"""
