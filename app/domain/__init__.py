"""The rules of group chat, pure: standard library and msgspec only.

In: a group's state, one command, the instant and ids that the record brings. Out: one event or
one refusal (`decide`), and the state after an event (`evolve`). Nothing here reads a clock, makes
an id or does I/O, so that every owner of a partition decides the same.
"""
