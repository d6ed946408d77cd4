"""The pages: each view of `app.inspection` as HTML that reads well, with links from what it names to what that is."""

from collections.abc import Iterable
from urllib.parse import quote, urlencode

from app.inspection import ClusterView, EventView, Found, GroupView, Lead, Owner, PartitionView, SearchView, Served
from web.inspect.markup import Child, Html, facts, join, own, page, table, tag, void

ROOT = "/inspect/"
NONE = tag("span", "-", class_="dim")
_PLAIN = {"open": "good", "stopped": "bad"}


def group_path(group: str, **query: int) -> str:
    """The path of a group's page; ids may hold any character that a path gives a meaning."""
    return f"{ROOT}groups/{quote(group, safe='')}" + (f"?{urlencode(query)}" if query else "")


def cluster(view: ClusterView, *, may_sign_out: bool) -> str:
    """The page of all partitions."""
    heads = (
        "Partition", "State", "Owner", "Epoch", "Next event", "Committed", "Decided", "End", "Lag", "Oldest unanswered",
        "In flight", "Unwritten", "Groups in memory", "Rows (about)", "Last flush",
    )  # fmt: skip
    here = sum(p.state is not None for p in view.partitions)
    body = join(
        *(tag("p", fault, class_="bad", role="alert") for fault in view.faults),
        facts(
            [
                ("This worker", view.worker),
                ("Address", view.url),
                ("Partitions here", f"{here} of {len(view.partitions)}"),
                ("Log", tag("code", view.log)),
                ("Commands topic", tag("code", view.commands_topic)),
            ]
        ),
        table(heads, (_partition(p) for p in view.partitions), "Partitions"),
    )
    return page("Partitions", _header(may_sign_out), body)


def group(view: GroupView, *, may_sign_out: bool) -> str:
    """The page of one group."""
    then = view.seq != view.head
    state = f"{view.seq} of {view.head}" if then else str(view.seq)
    body = join(
        tag("p", "As it was at seq ", tag("strong", view.seq), ". ", link(group_path(view.group), "Now"))
        if then
        else "",
        facts(
            [
                ("Name", own(view.name)),
                ("Topic", own(view.topic) if view.topic else NONE),
                ("Life", view.life),
                ("Join", view.join),
                ("History", view.history),
                ("Seq", state),
                ("First of this life", view.first),
                ("Last event", _time(view.at)),
                ("Idempotency keys", _or_none(view.keys)),
                ("Partition", f"{view.partition} at {view.worker}, epoch {view.epoch}"),
            ]
        ),
        _at_seq_form(view),
        tag("h2", f"Members ({view.members_total})"),
        table(("User", "Role", "Joined at seq"), ((_user(m.user), m.role, m.joined) for m in view.members), "Members"),
        _more_members(view),
        tag("h2", f"Banned ({view.banned_total})"),
        tag("ul", *(tag("li", _user(user)) for user in view.banned)) if view.banned else tag("p", "Nobody."),
        tag("p", f"The first {len(view.banned)}.") if len(view.banned) < view.banned_total else "",
        tag("h2", "Last events"),
        _events(view.events),
        tag("p", link(group_path(view.group, at_seq=view.earlier), "Earlier")) if view.earlier else "",
    )
    return page(f"Group {view.group}", _header(may_sign_out), body, join("Group ", own(view.group)))


def search(view: SearchView, *, may_sign_out: bool) -> str:
    """The page of what an id is."""
    more = {"id": view.id, "cursor": view.cursor or "", **({"group": view.group} if view.group is not None else {})}
    body = join(
        tag("h2", "Found"),
        tag("ul", *(tag("li", _found(each)) for each in view.found)) if view.found else tag("p", "Nothing here."),
        tag("p", link(f"{ROOT}search?{urlencode(more)}", "Look further")) if view.cursor is not None else "",
        tag("h2", "Looked through"),
        tag("ul", *(tag("li", each) for each in view.looked)),
        join(tag("h2", "Ask too"), tag("ul", *(tag("li", _lead(view, each)) for each in view.leads)))
        if view.leads
        else "",
    )
    return page(
        f"Search: {view.id}", _header(may_sign_out, view.id, view.group or ""), body, join("Search: ", own(view.id))
    )


def login(failed: bool) -> str:
    """The form that changes the operators' token for a cookie."""
    form = tag(
        "form",
        tag("label", "Operators' token", for_="token"),
        void("input", type="password", name="token", id="token", required="", autocomplete="current-password"),
        " ",
        tag("button", "Sign in", type="submit"),
        method="post",
        action=f"{ROOT}login",
    )
    body = join(tag("p", "That is not the token.", class_="bad", role="alert") if failed else "", form)
    return page("Sign in", Html(""), body)


def problem(status: int, message: str, *, may_sign_out: bool) -> str:
    """A page that says why there is none."""
    return page(f"Error {status}", _header(may_sign_out), tag("p", message, role="alert"))


def link(href: str, *text: Child) -> Html:
    """A link; only within the web, whatever an address is said to be."""
    if not href.startswith(("/", "http://", "https://")):
        return join(*text)
    return tag("a", *text, href=href)


def _header(may_sign_out: bool, sought: str = "", group_id: str = "") -> Html:
    def field(name: str, words: str, value: str, needed: bool) -> Html:
        required = "" if needed else None
        box = void("input", name=name, id=name, value=value, required=required, autocomplete="off", size=28)
        return tag("div", tag("label", words, for_=name), box)

    form = tag(
        "form",
        field("id", "Id of a group, user, event or command", sought, needed=True),
        field("group", "Its group, for a client_msg_id", group_id, needed=False),
        tag("button", "Search", type="submit"),
        action=f"{ROOT}search",
        role="search",
        class_="row",
    )
    leave = tag("form", tag("button", "Sign out", type="submit"), method="post", action=f"{ROOT}logout")
    return tag("header", tag("nav", link(ROOT, "Partitions")), form, leave if may_sign_out else "")


def _partition(p: PartitionView) -> Iterable[Child]:
    state = tag("span", p.state, class_=_PLAIN.get(p.state)) if p.state is not None else NONE
    yield p.partition
    yield join(state, ": ", own(p.reason)) if p.reason else state
    yield _owner(p.owner)
    s = p.served
    yield s.epoch if s else p.owner.epoch if p.owner else NONE
    yield s.next_event_offset if s else NONE
    yield _or_none(p.committed)
    yield _decided(s)
    yield _or_none(p.end)
    yield _or_none(p.lag)
    yield NONE if p.oldest_unanswered_s is None else f"{p.oldest_unanswered_s:.1f} s"
    yield s.in_flight if s else NONE
    yield s.unwritten if s else NONE
    yield s.groups_in_memory if s else NONE
    yield ", ".join(f"{name} {count}" for name, count in s.rows.items()) if s else NONE
    f = s.last_flush if s else None
    yield f"{f.age_s:.1f} s ago, {f.rows} rows in {f.took_s * 1000:.0f} ms" if f else NONE


def _decided(s: Served | None) -> Child:
    if s is None or s.decided_offset < 0:
        return NONE
    return f"{s.decided_offset}.{s.decided_index}"


def _owner(owner: Owner | None) -> Child:
    return link(f"{owner.url}{ROOT}", owner.worker) if owner is not None else NONE


def _at_seq_form(view: GroupView) -> Html:
    return tag(
        "form",
        tag("label", "State at seq", for_="at_seq"),
        void("input", type="number", name="at_seq", id="at_seq", min=view.first, max=view.head, value=view.seq),
        " ",
        tag("button", "Show", type="submit"),
        action=group_path(view.group),
    )


def _more_members(view: GroupView) -> Child:
    if view.next_members is None:
        return ""
    query = {"members": view.next_members, **({"at_seq": view.seq} if view.seq != view.head else {})}
    return tag("p", link(group_path(view.group, **query), f"Members from number {view.next_members + 1} on"))


def _events(events: list[EventView]) -> Html:
    heads = ("Seq", "What", "About", "By", "At", "Command", "Event id")
    return table(heads, (_event(e) for e in events), "Newest first; without texts")


def _event(e: EventView) -> Iterable[Child]:
    yield e.seq
    yield e.kind
    yield join(_user(e.user) if e.user is not None else "", f"seq {e.target}" if e.target is not None else "")
    yield _user(e.by) if e.by is not None else "an authority"
    yield _time(e.at)
    yield tag("code", e.command_id) if e.command_id is not None else NONE
    yield tag("code", e.id)


def _found(found: Found) -> Html:
    where = join(link(group_path(found.group), own(found.group)), f" (partition {found.partition})")
    match found.what:
        case "group":
            return join("The group ", where)
        case "member":
            return join(f"A user: {found.role} of ", where, f" since seq {found.joined}")
        case "event" if found.event is not None:
            e = found.event
            seq = link(group_path(found.group, at_seq=e.seq), f"seq {e.seq}")
            return join("An event: ", seq, " of ", where, _events([e]))
        case _:
            return join("A command to ", where, f": {found.note}")


def _lead(view: SearchView, lead: Lead) -> Html:
    query = {"id": view.id, **({"group": view.group} if view.group is not None else {})}
    return join(link(f"{lead.url}{ROOT}search?{urlencode(query)}", lead.worker), f": {lead.what}")


def _user(user: str) -> Html:
    return link(f"{ROOT}search?{urlencode({'id': user})}", own(user))


def _time(at: str | None) -> Child:
    return tag("time", at, datetime=at) if at is not None else NONE


def _or_none(value: int | None) -> Child:
    return NONE if value is None else value
