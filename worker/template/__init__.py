"""The template process: a program that has imported what jobs need and runs nothing, from which they are forked.

Importing torch takes seconds of CPU, forking a process that has imported it milliseconds. A worker keeps one template
(`program`), and asks it for a process for each attempt (`client`). The worker itself cannot be forked: it has threads.
"""
