"""The broker's clients behind small interfaces: topics, producer, consumers, partitions.

In: settings and bytes. Out: offsets and records. Nothing here knows what a group is.
"""
