"""Which events a member may read, as runs of seqs: what `state.readable` says, without asking each seq."""

from itertools import pairwise

from app.domain.state import Group

Span = tuple[int, int]  # the first and the last seq of a run, both in it


def readable_spans(group: Group, user: str, low: int, high: int) -> list[Span]:
    """The runs of events from `low` to `high` that `user` may read, in rising order, as wide as they can be.

    The cost is that of the group's rules and of the user's memberships, whatever the number of events.
    """
    member = group.members.get(user)
    memberships = [*group.past.get(user, ()), *([(member.joined, high)] if member is not None else [])]
    spans = [*_for_everybody(group, low, high), *memberships]
    within = sorted((max(since, low), min(through, high)) for since, through in spans)
    merged: list[Span] = []
    for since, through in within:
        if since > through:
            continue
        if merged and since <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], through))
        else:
            merged.append((since, through))
    return merged


def _for_everybody(group: Group, low: int, high: int) -> list[Span]:
    """Where the rule in force was `all`; so it is before the first rule."""
    rules = [(low, "all"), *group.rules, (high + 1, "all")]
    return [(since, until - 1) for (since, rule), (until, _) in pairwise(rules) if rule == "all"]


def last_of(spans: list[Span], count: int) -> int | None:
    """The seq from which on `spans` hold `count` events; None if they hold fewer."""
    for since, through in reversed(spans):
        if count <= through - since + 1:
            return through - count + 1
        count -= through - since + 1
    return None


def parts(spans: list[Span], low: int, high: int) -> list[tuple[int, int, bool]]:
    """The run from `low` to `high` cut where it enters or leaves a span: (first, last, whether in a span)."""
    found: list[tuple[int, int, bool]] = []
    at = low
    for since, through in spans:
        if through < at or since > high:
            continue
        if since > at:
            found.append((at, since - 1, False))
        found.append((max(since, at), min(through, high), True))
        at = through + 1
    if at <= high:
        found.append((at, high, False))
    return found
