"""The Python client of Auerbach: a chat over one WebSocket that survives its connections.

    async with Client("http://127.0.0.1:8080", user="alice") as chat:
        await chat.create_group("g1", name="Friends", join="open")
        await chat.send("g1", "hi")
        async with chat.subscribe("g1", after=0) as events:
            async for event in events:
                print(event)

`Client` has the requests, `Subscription` the events, `Conversation` a group as it is to be shown. It imports nothing
of the server.
"""

from auerbach_client import bodies
from auerbach_client.answers import GroupState, HistoryItem, HistoryPage, Member, MembersPage, Online
from auerbach_client.backoff import Backoff
from auerbach_client.changes import Ack
from auerbach_client.client import Client
from auerbach_client.conversation import Conversation
from auerbach_client.errors import AuerbachError, ChatError, EndedError
from auerbach_client.frames import Event, Hello, Limits, Reset, Withheld
from auerbach_client.messages import Message, Status
from auerbach_client.subscription import Item, Subscription

__all__ = [
    "Ack",
    "AuerbachError",
    "Backoff",
    "ChatError",
    "Client",
    "Conversation",
    "EndedError",
    "Event",
    "GroupState",
    "Hello",
    "HistoryItem",
    "HistoryPage",
    "Item",
    "Limits",
    "Member",
    "MembersPage",
    "Message",
    "Online",
    "Reset",
    "Status",
    "Subscription",
    "Withheld",
    "bodies",
]
