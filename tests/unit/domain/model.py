"""A second reading of the protocol, as naive as can be: a list of events as plain JSON, scanned for every question.

It shares no code with `app.domain`, so that a rule misread there is not misread here in the same way.
"""

from dataclasses import dataclass, field
from typing import Any

Said = tuple[str, Any]  # ("refused", code), ("duplicate", seq), ("unchanged", None) or ("event", (kind, data))

NEEDS = {
    "update_group": ["admin", "owner"],
    "delete_group": ["owner"],
    "leave": ["reader", "member", "admin", "owner"],
    "add_member": ["admin", "owner"],
    "remove_member": ["admin", "owner"],
    "unban": ["admin", "owner"],
    "set_role": ["admin", "owner"],
    "send": ["member", "admin", "owner"],
    "edit": ["member", "admin", "owner"],
    "delete": ["reader", "member", "admin", "owner"],
    "react": ["reader", "member", "admin", "owner"],
    "unreact": ["reader", "member", "admin", "owner"],
    "prune_history": [],
}
ORDER = ["reader", "member", "admin", "owner"]


@dataclass
class Model:
    """All that ever happened: each event with what was asked for it."""

    window_events: int
    log: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, ask: dict[str, Any], now_ms: int) -> Said:
        """What must become of a request, given as its JSON with every field there."""
        kind, by = ask["type"], ask["by"]
        if kind == "remove_member" and ask["user"] == by:
            return "refused", "invalid"
        if not self.log:
            return self._begin(ask) if kind == "create_group" else ("refused", "no_such_group")
        again = self._repeated(ask, now_ms)
        if kind == "create_group":
            if again and (self.alive() or again[0] == "refused"):
                return again
            return self._refuse_creation(by) if self.alive() else self._begin(ask)
        if again:
            return again
        if not self.alive():
            return "refused", "no_such_group"
        if by in self.banned():
            return "refused", "banned"
        if by is not None and kind != "join":
            if by not in self.roles():
                return "refused", "not_a_member"
            if self.roles()[by] not in NEEDS[kind]:
                return "refused", "forbidden"
        said: Said = getattr(self, f"_{kind}")(ask)
        return said

    def accept(self, ask: dict[str, Any], said: tuple[str, Any], now_ms: int) -> dict[str, Any]:
        """Write the event down."""
        at = max([now_ms, *(e["at"] for e in self.log)])
        event = {"seq": len(self.log) + 1, "kind": said[0], "data": said[1], "at": at, "by": ask["by"], "ask": ask}
        self.log.append(event)
        return event

    # What is so now.

    def life(self) -> list[dict[str, Any]]:
        """The events of the last life that began."""
        begun = [n for n, e in enumerate(self.log) if e["kind"] == "group.created"]
        return self.log[begun[-1] :] if begun else []

    def alive(self) -> bool:
        return bool(self.life()) and self.life()[-1]["kind"] != "group.deleted"

    def roles(self, life: list[dict[str, Any]] | None = None) -> dict[str, str]:
        """Who is in, in the order of joining, and in which role."""
        roles: dict[str, str] = {}
        for e in self.life() if life is None else life:
            d = e["data"]
            if e["kind"] == "group.created":
                roles = {m["user"]: m["role"] for m in d["members"]}
            elif e["kind"] == "member.joined":
                roles[d["user"]] = d["role"]
            elif e["kind"] in {"member.left", "member.removed"}:
                roles.pop(d["user"], None)
                if "owner" in d:
                    roles[d["owner"]] = "owner"
            elif e["kind"] == "member.role_changed":
                if "from" in d:
                    roles[d["from"]] = "admin"
                roles[d["user"]] = d["role"]
            elif e["kind"] == "group.deleted":
                roles = {}
        return roles

    def banned(self) -> set[str]:
        banned: set[str] = set()
        for e in self.life():
            if e["kind"] == "member.removed" and e["data"]["banned"]:
                banned.add(e["data"]["user"])
            elif e["kind"] == "member.unbanned":
                banned.discard(e["data"]["user"])
            elif e["kind"] == "group.deleted":
                banned = set()
        return banned

    def setting(self, name: str, life: list[dict[str, Any]] | None = None) -> Any:
        values = [
            e["data"][name]
            for e in (self.life() if life is None else life)
            if e["kind"] in {"group.created", "group.updated"} and name in e["data"]
        ]
        return values[-1]

    def seen(self, user: str) -> set[int]:
        """The events of this life that `user`, a member now, may read."""
        life, seen = self.life(), set()
        for n, e in enumerate(life, 1):
            there = {*self.roles(life[:n]), *self.roles(life[: n - 1])}  # one's own joining and removal are readable
            if self.setting("history", life[:n]) == "all" or user in there:
                seen.add(e["seq"])
        return seen

    def messages(self) -> dict[int, dict[str, Any]]:
        """The messages of this life that are kept and not deleted."""
        found: dict[int, dict[str, Any]] = {}
        for e in self.life():
            d = e["data"]
            if e["kind"] == "message.posted":
                found[e["seq"]] = {"by": e["by"], "reactions": set()}
            elif e["kind"] == "message.deleted":
                del found[d["target"]]
            elif e["kind"] == "reaction.added":
                found[d["target"]]["reactions"].add((e["by"], d["emoji"]))
            elif e["kind"] == "reaction.removed":
                found[d["target"]]["reactions"].remove((e["by"], d["emoji"]))
            elif e["kind"] == "history.pruned":
                found = {seq: message for seq, message in found.items() if seq > d["through"]}
        return found

    def owner(self) -> str | None:
        owners = [user for user, role in self.roles().items() if role == "owner"]
        return owners[0] if owners else None

    # What each request does.

    def _repeated(self, ask: dict[str, Any], now_ms: int) -> Said | None:
        key = ask["client_msg_id"]
        firsts = [e for e in self.life() if e["by"] == ask["by"] and e["ask"]["client_msg_id"] == key is not None]
        if not firsts:
            return None
        first, now = firsts[-1], max(now_ms, self.log[-1]["at"])
        age, events_since = now - first["at"], len(self.log) - first["seq"]
        if age > 600_000 and (age > 86_400_000 or events_since >= self.window_events):
            return None
        if content(first["ask"]) != content(ask):
            return "refused", "conflict"
        return "duplicate", first["seq"]

    def _refuse_creation(self, by: str | None) -> Said:
        return "refused", "banned" if by in self.banned() else "already_exists"

    def _begin(self, ask: dict[str, Any]) -> Said:
        named = {m["user"]: m["role"] for m in ask["members"]}
        owner = ask["by"] or next(iter(named), None)
        others = [{"user": user, "role": role} for user, role in named.items() if user != owner]
        members = ([{"user": owner, "role": "owner"}] if owner else []) + others
        return "event", (
            "group.created",
            {f: ask[f] for f in ("name", "topic", "join", "history")} | {"members": members},
        )

    def _update_group(self, ask: dict[str, Any]) -> Said:
        names = ("name", "topic", "join", "history")
        changed = {f: ask[f] for f in names if ask[f] is not None and ask[f] != self.setting(f)}
        return ("event", ("group.updated", changed)) if changed else ("unchanged", None)

    def _delete_group(self, ask: dict[str, Any]) -> Said:
        return "event", ("group.deleted", {})

    def _prune_history(self, ask: dict[str, Any]) -> Said:
        if ask["through"] > len(self.log):
            return "refused", "invalid"
        kept_from = self.life()[0]["seq"]
        pruned = [e["data"]["through"] for e in self.life() if e["kind"] == "history.pruned"]
        if ask["through"] < max([kept_from, *(through + 1 for through in pruned)]):
            return "unchanged", None
        return "event", ("history.pruned", {"through": ask["through"]})

    def _join(self, ask: dict[str, Any]) -> Said:
        if ask["by"] is None:
            return "refused", "invalid"
        if ask["by"] in self.roles():
            return "refused", "already_a_member"
        if self.setting("join") == "invite":
            return "refused", "forbidden"
        return "event", ("member.joined", {"user": ask["by"], "role": "member" if self.roles() else "owner"})

    def _leave(self, ask: dict[str, Any]) -> Said:
        if ask["by"] is None:
            return "refused", "invalid"
        if ask["by"] == self.owner() and len(self.roles()) > 1:
            return "refused", "last_owner"
        return "event", ("member.left", {"user": ask["by"]})

    def _gives(self, ask: dict[str, Any]) -> bool:
        """Whether the caller may give that role at all."""
        return ask["by"] in {None, self.owner()} or ask["role"] in {"reader", "member"}

    def _over(self, by: str | None, user: str) -> bool:
        roles = self.roles()
        return by is None or ORDER.index(roles[user]) < ORDER.index(roles[by])

    def _add_member(self, ask: dict[str, Any]) -> Said:
        if not self._gives(ask):
            return "refused", "forbidden"
        if ask["user"] in self.banned():
            return "refused", "banned"
        if ask["user"] in self.roles():
            return "refused", "already_a_member"
        return "event", ("member.joined", {"user": ask["user"], "role": ask["role"] if self.roles() else "owner"})

    def _remove_member(self, ask: dict[str, Any]) -> Said:
        user, data = ask["user"], {"user": ask["user"], "banned": ask["ban"]}
        if user not in self.roles():
            if not ask["ban"]:
                return "refused", "not_a_member"
            return ("unchanged", None) if user in self.banned() else ("event", ("member.removed", data))
        if not self._over(ask["by"], user):
            return "refused", "forbidden"
        if user == self.owner():
            rest = [u for u in self.roles() if u != user]
            rest.sort(key=lambda u: -ORDER.index(self.roles()[u]))  # stable: the longest-standing first
            data |= {"owner": rest[0]} if rest else {}
        return "event", ("member.removed", data)

    def _unban(self, ask: dict[str, Any]) -> Said:
        banned = ask["user"] in self.banned()
        return ("event", ("member.unbanned", {"user": ask["user"]})) if banned else ("unchanged", None)

    def _set_role(self, ask: dict[str, Any]) -> Said:
        user, role = ask["user"], ask["role"]
        if not self._gives(ask):
            return "refused", "forbidden"
        if user not in self.roles():
            return "refused", "not_a_member"
        if user != ask["by"] and not self._over(ask["by"], user):
            return "refused", "forbidden"
        if self.roles()[user] == role:
            return "unchanged", None
        if user == self.owner():
            return "refused", "last_owner"
        data = {"user": user, "role": role} | ({"from": self.owner()} if role == "owner" else {})
        return "event", ("member.role_changed", data)

    def _found(self, ask: dict[str, Any], seq: int) -> dict[str, Any] | None:
        """The message, where the caller finds one."""
        there = ask["by"] is None or seq in self.seen(ask["by"])
        return self.messages().get(seq) if there else None

    def _send(self, ask: dict[str, Any]) -> Said:
        if ask["reply_to"] is not None and self._found(ask, ask["reply_to"]) is None:
            return "refused", "no_such_message"
        reply = {"reply_to": ask["reply_to"]} if ask["reply_to"] is not None else {}
        return "event", ("message.posted", {"text": ask["text"]} | reply)

    def _edit(self, ask: dict[str, Any]) -> Said:
        message = self._found(ask, ask["seq"])
        if message is None:
            return "refused", "no_such_message"
        if message["by"] != ask["by"]:
            return "refused", "forbidden"
        return "event", ("message.edited", {"target": ask["seq"], "text": ask["text"]})

    def _delete(self, ask: dict[str, Any]) -> Said:
        message = self._found(ask, ask["seq"])
        if message is None:
            return "refused", "no_such_message"
        if message["by"] != ask["by"] and ask["by"] is not None and self.roles()[ask["by"]] in {"reader", "member"}:
            return "refused", "forbidden"
        return "event", ("message.deleted", {"target": ask["seq"]})

    def _react(self, ask: dict[str, Any], *, adds: bool = True) -> Said:
        if ask["by"] is None:
            return "refused", "invalid"
        message = self._found(ask, ask["seq"])
        if message is None:
            return "refused", "no_such_message"
        if ((ask["by"], ask["emoji"]) in message["reactions"]) == adds:
            return "unchanged", None
        kind = "reaction.added" if adds else "reaction.removed"
        return "event", (kind, {"target": ask["seq"], "emoji": ask["emoji"]})

    def _unreact(self, ask: dict[str, Any]) -> Said:
        return self._react(ask, adds=False)


def content(ask: dict[str, Any]) -> dict[str, Any]:
    """What is compared of two requests with one key."""
    asked = {name: value for name, value in ask.items() if name not in {"id", "origin", "client_msg_id"}}
    if ask["type"] == "create_group":
        asked["members"] = [*{m["user"]: m["role"] for m in ask["members"] if m["user"] != ask["by"]}.items()]
    if ask["type"] == "add_member" and ask["by"] is None:
        asked.pop("role")
    return asked
