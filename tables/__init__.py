"""The tables `groups` and `history`: a cache of the fold with a position (design I2), never the truth.

In: groups that changed and events, from an owner; rows, from the changelog. Out: state and events, by key. Rows
live in RocksDB and in a changelog topic; `write_behind` keeps the first never ahead of the second, `loader` fills
it again, `faust_table` makes both a table that Faust assigns.
"""
