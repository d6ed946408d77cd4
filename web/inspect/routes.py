"""The paths under `/inspect/`: who may look is judged first, then a view is asked for and given as HTML or JSON."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from app.domain import rules
from app.domain.outcomes import Rejection
from app.inspection import Elsewhere, GroupQuery, Inspector, SearchQuery, encode
from app.telemetry import logger
from web.inspect import pages
from web.inspect.markup import STYLE_HASH
from web.inspect.right import COOKIE, COOKIE_S, Denied, Right

STATUS: Final = {"invalid": 400, "no_such_group": 404, "unavailable": 503, "timeout": 504}
CURSOR_BYTES = 512
FORM_BYTES = 4096
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Authorization, Cookie",
}

_log = logger("inspect")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadQueryError(Exception):
    """A query that cannot be answered: the field, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")


def install(application: web.Application, inspector: Inspector, token: str | None) -> None:
    """Serve `/inspect/…` on `application`, to whom `token` opens it, or without one to this machine only."""
    application.add_subapp("/inspect", _Pages(inspector, Right(token)).app)


class _Pages:
    """The handlers, and the policy that stands around all of them."""

    def __init__(self, inspector: Inspector, right: Right) -> None:
        self._inspector = inspector
        self._right = right
        self.app = web.Application(middlewares=[self._guard])
        self.app.router.add_get("/", self._cluster)
        self.app.router.add_get("/groups/{group:[^/]+}", self._group)
        self.app.router.add_get("/search", self._search)
        self.app.router.add_post("/login", self._login)
        self.app.router.add_post("/logout", self._logout)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Judge, answer, and say on each response what a browser may do with it."""
        # Signing in brings the token in its body.
        signs_in = self._right.by_token and (request.method, request.path) == ("POST", pages.ROOT + "login")
        denied = self._judge(request) if not signs_in else None
        try:
            response = await handler(request) if denied is None else self._refuse(request, denied)
        except BadQueryError as bad:
            response = self._problem(request, 400, "invalid", str(bad))
        except web.HTTPMethodNotAllowed as wrong:
            response = self._problem(request, 405, "method_not_allowed", "the pages are only read")
            response.headers["Allow"] = wrong.headers["Allow"]
        except web.HTTPNotFound:
            response = self._problem(request, 404, "not_found", "there is no such page")
        except web.HTTPRequestEntityTooLarge:
            response = self._problem(request, 413, "too_large", f"a form has at most {FORM_BYTES} bytes")
        except Exception:  # noqa: BLE001 - an edge: the next page may well do
            _log.exception("a page failed", path=request.path)
            response = self._problem(request, 500, "internal", "this page failed; the worker's log says why")
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._policy(allowed=denied is None and not signs_in)
        return response

    def _judge(self, request: web.Request) -> Denied | None:
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        return self._right.judge(
            peer=peer[0] if peer else None, headers=request.headers, cookie=request.cookies.get(COOKIE)
        )

    def _refuse(self, request: web.Request, denied: Denied) -> web.Response:
        if denied.status == 401 and _wants_html(request):
            return _html(pages.login(failed=False), status=401)
        response = self._problem(request, denied.status, denied.code, denied.message)
        if denied.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="operators"'
        return response

    async def _cluster(self, request: web.Request) -> web.Response:
        view = await self._inspector.cluster()
        if _wants_html(request):
            return _html(pages.cluster(view, may_sign_out=self._right.by_token))
        return _json(encode(view))

    async def _group(self, request: web.Request) -> web.Response:
        query = GroupQuery(
            group=_id("group", request.match_info["group"]),
            at_seq=_number(request, "at_seq", 1),
            members=_number(request, "members", 0) or 0,
        )
        view = await self._inspector.group(query)
        if isinstance(view, Elsewhere | Rejection):
            return self._no_view(request, view)
        if _wants_html(request):
            return _html(pages.group(view, may_sign_out=self._right.by_token))
        return _json(encode(view))

    async def _search(self, request: web.Request) -> web.Response:
        group, cursor = request.query.get("group"), request.query.get("cursor")
        if cursor is not None and rules.size(cursor) > CURSOR_BYTES:
            raise BadQueryError("cursor", f"must be at most {CURSOR_BYTES} bytes")
        query = SearchQuery(
            # An event's id is longer than its parts but far below this.
            id=_id("id", request.query.get("id", ""), limit=256),
            group=_id("group", group) if group else None,
            cursor=cursor or None,
        )
        view = await self._inspector.search(query)
        if isinstance(view, Elsewhere | Rejection):
            return self._no_view(request, view)
        if _wants_html(request):
            return _html(pages.search(view, may_sign_out=self._right.by_token))
        return _json(encode(view))

    async def _login(self, request: web.Request) -> web.Response:
        token = (await request.clone(client_max_size=FORM_BYTES).post()).get("token")
        if not self._right.by_token:
            raise web.HTTPNotFound
        if not isinstance(token, str) or not self._right.is_token(token.strip()):
            if _wants_html(request):
                return _html(pages.login(failed=True), status=401)
            return self._problem(request, 401, "unauthorized", "that is not the operators' token")
        response = web.Response(status=303, headers={"Location": pages.ROOT})
        response.set_cookie(
            COOKIE,
            self._right.cookie(),
            max_age=COOKIE_S,
            path=pages.ROOT,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    async def _logout(self, _request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": pages.ROOT})
        response.del_cookie(COOKIE, path=pages.ROOT, httponly=True, samesite="Strict")
        return response

    def _no_view(self, request: web.Request, why: Elsewhere | Rejection) -> web.Response:
        if isinstance(why, Elsewhere):
            query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
            return web.Response(status=307, headers={"Location": f"{why.url}{request.rel_url.raw_path}{query}"})
        response = self._problem(request, STATUS.get(why.code, 500), why.code, why.message)
        if why.temporary:
            response.headers["Retry-After"] = "1"
        return response

    def _problem(self, request: web.Request, status: int, code: str, message: str) -> web.Response:
        if _wants_html(request):
            return _html(pages.problem(status, message, may_sign_out=self._right.by_token), status=status)
        body = msgspec.json.encode({"status": status, "code": code, "detail": message})
        return web.Response(body=body, status=status, content_type="application/problem+json")

    def _policy(self, allowed: bool) -> str:
        # A form's way may lead on to another worker, and browsers hold every step of it to `form-action`.
        others = " ".join(sorted({_origin(url) for url in self._inspector.urls()})) if allowed else ""
        return (
            f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {others}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )


def _wants_html(request: web.Request) -> bool:
    """A browser asks for HTML; whoever says nothing of it gets JSON. `?format=` is stronger."""
    wanted = request.query.get("format")
    if wanted is not None:
        return wanted == "html"
    return "text/html" in request.headers.get("Accept", "")


def _origin(url: str) -> str:
    """The origin of an owner's address, without anything that would end a directive of the policy."""
    parts = urlsplit(url)
    return f"{parts.scheme}://" + "".join(c for c in parts.netloc if c.isalnum() or c in ".:[]-")


def _html(page: str, status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _id(field: str, value: str, limit: int = rules.ID_BYTES) -> str:
    if why := rules.bad_id(value, limit):
        raise BadQueryError(field, why)
    return value


def _number(request: web.Request, field: str, least: int) -> int | None:
    value = request.query.get(field)
    if value is None or value == "":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 16 and least <= int(value) < rules.SEQ_LIMIT):
        raise BadQueryError(field, f"must be an integer from {least} below 2^53")
    return int(value)
