"""Questions about a group: what the owner is asked for a request, and what the client is told of the answer."""

from typing import Any

from app.presence import NAMES
from app.reads import Answer, AnyRead, ReadMembers, ReadMessages, ReadPresence, ReadState
from web.requests import History, Members, Question, State, WhoIsOnline


def read_for(ask: Question, user: str, end: int) -> AnyRead:
    """What the owner is asked."""
    match ask:
        case History():
            return ReadMessages(
                group=ask.group, user=user, end=end, before=ask.before, after=ask.after, limit=ask.limit
            )
        case State():
            return ReadState(group=ask.group, user=user, end=end, at_seq=ask.at_seq)
        case Members():
            return ReadMembers(group=ask.group, user=user, end=end, limit=ask.limit, cursor=ask.cursor)
        case WhoIsOnline():
            return ReadPresence(group=ask.group, user=user, end=end, limit=NAMES + 1)


def told(ask: Question, answer: Answer) -> dict[str, Any]:
    """What the reply adds (protocol §2)."""
    match ask:
        case History():
            return {"messages": answer.messages, "more": answer.more}
        case State():
            return {"state": answer.state}
        case Members():
            return {"members": answer.members} | ({"cursor": answer.cursor} if answer.cursor is not None else {})
        case WhoIsOnline():
            online = answer.online or []
            return {"online": online[:NAMES]} | ({"online_more": True} if len(online) > NAMES else {})
