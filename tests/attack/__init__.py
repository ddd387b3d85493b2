"""`make attack`: what did not hold once, and what the threat model promises, tried against a running service.

A line is a function with the decorator `line`, in a file by subject; `table.py` lists the files.
"""
