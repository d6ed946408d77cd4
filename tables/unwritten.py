"""Rows that changed and are not in the store yet: they win over the store until they are.

Two generations: what changed since the last snapshot, and the snapshot that is being written.
"""

import heapq
from collections.abc import Iterator

from tables import rows
from tables.store import Change, Store

Payloads = dict[bytes, bytes | None]  # by key; None: the row is deleted


class Unwritten:
    """Changes over one store. A bucket is the beginning of a key under which rows are asked for in their order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._new: Payloads = {}
        self._writing: Payloads = {}
        self._buckets: dict[bytes, Payloads] = {}
        self._buckets_writing: dict[bytes, Payloads] = {}

    def __len__(self) -> int:
        return len(self._new)

    def put(self, key: bytes, payload: bytes | None, bucket: bytes = b"") -> None:
        """The row of `key` is now `payload`, or deleted."""
        self._new[key] = payload
        if bucket:
            self._buckets.setdefault(bucket, {})[key] = payload

    def get(self, key: bytes) -> bytes | None:
        """The payload of `key`, or None where there is no row."""
        for changed in (self._new, self._writing):
            if key in changed:
                return changed[key]
        row = self._store.get(key)
        return None if row is None else rows.payload_of(row)

    def changed(self, key: bytes) -> bool:
        """Whether the row of `key` is unwritten, or its deletion is."""
        return key in self._new or key in self._writing

    def touches(self, bucket: bytes) -> bool:
        """Whether a row of `bucket` is unwritten."""
        return bucket in self._buckets or bucket in self._buckets_writing

    def scan(
        self, bucket: bytes, kind: bytes = b"", start: bytes = b"", *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and payloads that begin with `bucket` and `kind`, in the order of keys, from key `start` on."""
        prefix = bucket + kind
        stored = self._store.scan(prefix, start, backwards=backwards)
        if not self.touches(bucket):
            for key, row in stored:
                yield key, rows.payload_of(row)
            return
        changed = {**self._buckets_writing.get(bucket, {}), **self._buckets.get(bucket, {})}
        kept = ((key, rows.payload_of(row)) for key, row in stored if key not in changed)
        added = sorted(
            (
                (key, payload)
                for key, payload in changed.items()
                if payload is not None
                and key.startswith(prefix)
                and (not start or (key <= start if backwards else key >= start))
            ),
            reverse=backwards,
        )
        yield from heapq.merge(kept, added, reverse=backwards)

    def take(self, epoch: int) -> list[Change]:
        """A snapshot of what changed, as rows of the owner `epoch`, in the order of the first change of each."""
        self._writing, self._buckets_writing = self._new, self._buckets
        self._new, self._buckets = {}, {}
        return [
            (key, None if payload is None else rows.value(epoch, payload)) for key, payload in self._writing.items()
        ]

    def written(self) -> None:
        """The snapshot is in the store."""
        self._writing, self._buckets_writing = {}, {}
