"""HTML that cannot be written wrongly: whatever is not `Html` already is escaped. And the frame of every page."""

import base64
import hashlib
import html
from collections.abc import Iterable
from pathlib import Path
from string import Template

STYLE = (Path(__file__).parent / "style.css").read_text("utf-8").strip()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


class Html(str):
    """Text that is HTML already. Only this module makes it."""

    __slots__ = ()


Child = object  # Html as it is, everything else as escaped text


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. Attributes that are None are left out; `class_` is `class`, `aria_label` is `aria-label`.

    >>> tag("a", "<me>", href='/x?"', class_="id")
    '<a href="/x?&quot;" class="id">&lt;me&gt;</a>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def void(name: str, /, **attributes: object) -> Html:
    """An element that has no content and no end tag, such as `input`."""
    return Html(tag(name, **attributes).removesuffix(f"</{name}>"))


def join(*children: Child) -> Html:
    """Pieces one after the other."""
    return Html("".join(c if isinstance(c, Html) else html.escape(str(c)) for c in children))


def own(text: object) -> Html:
    """What a user has chosen: set apart, so that its writing direction changes nothing around it."""
    return tag("bdi", text)


def table(heads: Iterable[str], rows: Iterable[Iterable[Child]], caption: str) -> Html:
    """A table that scrolls by itself where it is too wide."""
    head = tag("tr", *(tag("th", each, scope="col") for each in heads))
    body = [tag("tr", *(tag("td", each) for each in row)) for row in rows]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · Auerbach</title>
<style>$style</style>
</head>
<body>
$header
<main>
<h1>$heading</h1>
$body
</main>
</body>
</html>
""")


def page(title: str, header: Html, body: Html, heading: Html | None = None) -> str:
    """A whole page."""
    return _PAGE.substitute(
        title=html.escape(title), style=STYLE, header=header, heading=heading or html.escape(title), body=body
    )
