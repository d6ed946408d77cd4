"""Proving the log: what every reader believes, held against what was promised of it (docs/adr/019).

In: the events topic; the tables' changelogs, the owners' answers and clients' acknowledgements beside it. Out: a
report of findings, each with its place. It only reads. One process a core, a partition at a time each.
"""
