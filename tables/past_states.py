"""What a group's state was at an earlier seq: the fold of its log up to there, as far as clients see a state."""

import asyncio
from collections import OrderedDict
from dataclasses import replace

from app.domain.events import decode_event
from app.domain.evolve import evolve
from app.domain.state import Group, Member
from tables import group_rows
from tables.history import History, NotLoadedError
from tables.history_rows import changes_state

SLICE_EVENTS = 500  # folded before the loop gets its turn
STATES_KEPT = 8
ROWS_KEPT = 200_000


class PastStates:
    """Folds states of earlier seqs, and keeps a few of them to go on from."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._kept: OrderedDict[tuple[str, int], Group] = OrderedDict()  # by group and seq; never changed again

    async def at(self, group: Group, seq: int) -> Group:
        """The state of the current life of `group` at `seq`, which must be in it; do not change it.

        Everything but the keys of requests: `sent` is empty. The cost is that of the events which changed the state
        (some 20 µs each), whatever the number of messages: marks name them. A fold that is cut short by its caller's
        deadline is kept, so that asking again goes on where it was.

        Raises:
            tables.history.NotLoadedError: an event is not there.
        """
        state = self._nearest(group, seq)
        if state.seq < seq:
            state = _copy(state)
            try:
                await self._fold(state, group.first, seq)
                state.seq = seq
            finally:
                self._keep(state)
        return state

    async def _fold(self, state: Group, first: int, seq: int) -> None:
        """Fold what changed the state after `state.seq`."""
        marked = self._history.marks.changed_state(state.id, first)  # else this life began before there were marks
        after = state.seq + 1
        seqs = self._history.marks.changes(state.id, after, seq) if marked else range(after, seq + 1)
        wanted: list[int] = []
        for looked, changed in enumerate(seqs, 1):
            if changed is not None:
                wanted.append(changed)
            if looked % SLICE_EVENTS == 0:
                self._fold_some(state, wanted, whole=marked)
                wanted = []
                await asyncio.sleep(0)
        self._fold_some(state, wanted, whole=marked)

    def _fold_some(self, state: Group, seqs: list[int], *, whole: bool) -> None:
        found = dict(self._history.pick(state.id, seqs))
        if whole and len(found) < len(seqs):
            raise NotLoadedError(f"{state.id}: {len(seqs) - len(found)} events up to {seqs[-1]}")
        for seq, value in found.items():
            if changes_state(value):
                state.seq = seq - 1  # what lies between changes nothing
                evolve(state, decode_event(value))
        state.touched.clear()
        state.sent.clear()

    def _nearest(self, group: Group, seq: int) -> Group:
        kept = [s for s in self._kept.values() if s.id == group.id and s.first == group.first and s.seq <= seq]
        nearest = max(kept, key=lambda s: s.seq, default=None)
        return Group(group.id, seq=group.first - 1) if nearest is None else nearest

    def _keep(self, state: Group) -> None:
        self._kept[state.id, state.seq] = state
        while len(self._kept) > STATES_KEPT or sum(group_rows.count_of(s) for s in self._kept.values()) > ROWS_KEPT:
            self._kept.popitem(last=False)


def _copy(state: Group) -> Group:
    return replace(
        state,
        rules=list(state.rules),
        members={user: Member(m.role, m.joined, m.place) for user, m in state.members.items()},
        banned=set(state.banned),
        past={user: list(spans) for user, spans in state.past.items()},
        sent={},
        touched=set(),
    )
