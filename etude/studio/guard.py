"""Who asks, from where, how often, and with how much: before anything else is done.

Checked here: the host that was asked for, the origin of whatever changes something, the cookie,
the size and the pace of a body, how often a visitor and an address come, and codes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etude.studio.responses import Problem, answer
from etude.studio.store import HOUR, Store

COOKIE = "etude"
COOKIE_SECONDS = 90 * 24 * 3600
SAFE = ("GET", "HEAD")
PART_SECONDS, BODY_SECONDS = 5.0, 60.0  # for a part of a body, for all of it
TRIES = 5  # of a code, in a minute
HERE = ("127.0.0.1", "::/64")  # as `network` counts the loopback addresses
SEEN_SECONDS = 600.0  # a visitor is marked as seen so often
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), midi=(self), camera=(), geolocation=()",
}

OPENER = {"Cross-Origin-Opener-Policy": "same-origin"}  # browsers want it over https alone


def hashed(token: str) -> str:
    """What is kept of a cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


def network(address: str) -> str:
    """What of an address is counted: of IPv6 a /64, which one person has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network(f"{found}/64", strict=False))
    return str(found)


class Guard:
    """The outermost layer: hosts, origins, headers, how many requests of an address at a time.

    Args:
        hosts: names that the studio may be asked for by, without ports.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], connections: int) -> None:
        self.app, self.hosts, self.most = app, {host.lower() for host in hosts}, connections
        self.open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure = OPENER if scope["scheme"] == "https" else {}
                MutableHeaders(scope=message).update(HEADERS | secure)
            await send(message)

        address = network((scope.get("client") or ("",))[0])
        self.open[address] += 1
        try:
            refusal = self._refusal(scope, address)
            await (refusal or self.app)(scope, receive, with_headers)
        finally:
            self.open[address] -= 1
            if not self.open[address]:
                del self.open[address]

    def _refusal(self, scope: Scope, address: str) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.lower() not in self.hosts or len(headers.getlist("host")) != 1:
            return answer({"error": "This is another address than the studio's."}, 400)
        if self.open[address] > self.most:
            return answer({"error": "Too many requests at the same time."}, 429)
        own = f"{scope['scheme']}://{host}"
        if scope["method"] not in SAFE and headers.get("origin") != own:
            return answer({"error": "This does not come from the studio's own page."}, 403)
        return None


class Rates:
    """How often something was done recently; in memory, so that no address is ever stored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.times: defaultdict[str, deque[float]] = defaultdict(deque)

    def allow(self, key: str, most: int, seconds: float) -> bool:
        """Count one more, unless there were `most` within these seconds."""
        now = self.clock()
        times = self.times[key]
        while times and times[0] < now - seconds:
            times.popleft()
        if len(self.times) > 100_000:  # of visitors of long ago
            self.times = defaultdict(deque, {k: v for k, v in self.times.items() if v})
        if len(times) >= most:
            return False
        times.append(now)
        return True


class Door:
    """Cookies, codes and limits.

    Args:
        access, operator: the codes; None: there is none.
        at_home: whether, without an operator's code, who sits at this machine is the operator.
    """

    def __init__(
        self, store: Store, access: str | None, operator: str | None, *, at_home: bool = False
    ) -> None:
        self.store, self.rates, self.at_home = store, Rates(), at_home
        self.codes = {"visitor": access, "operator": operator}

    def known(self, request: Request) -> dict[str, Any] | None:
        """The visitor whose cookie this is."""
        token = request.cookies.get(COOKIE, "")
        found = self.store.visitor(hashed(token)) if token else None
        if found and (found["seen"] or 0) < time.time() - SEEN_SECONDS:
            self.store.sql.execute(
                "UPDATE visitors SET seen = ? WHERE id = ?", (time.time(), found["id"])
            )
        return found

    def visitor(self, request: Request) -> dict[str, Any]:
        """Who asks, where she may come in.

        Raises:
            Problem: no cookie, or no code yet.
        """
        found = self.known(request)
        if found is None:
            raise Problem(401, "Open the studio's page first; it needs a cookie.")
        if self.codes["visitor"] and not found["rights"]:
            raise Problem(401, "This studio asks for a code.")
        return found

    def operator(self, request: Request) -> dict[str, Any]:
        """Who asks, where she is the operator.

        Raises:
            Problem: she is not.
        """
        found = self.known(request)
        if found is None or not self.is_operator(request, found):
            raise Problem(403, "This is for the operator; enter the operator's code first.")
        return found

    def is_operator(self, request: Request, visitor: dict[str, Any]) -> bool:
        """By the code; where there is none, whoever sits at this machine."""
        if visitor["rights"] == "operator":
            return True
        here = self.address(request) in HERE
        return self.at_home and here and self.codes["operator"] is None

    def welcome(self, request: Request, response: Response) -> None:
        """Give a cookie to who has none."""
        if self.known(request) is not None:
            return
        token = secrets.token_urlsafe(32)
        self.store.add_visitor(hashed(token))
        response.set_cookie(
            COOKIE,
            token,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def enter(self, request: Request, code: str) -> str:
        """What a code opens.

        Raises:
            Problem: it opens nothing, or there were too many tries.
        """
        visitor = self.known(request)
        if visitor is None:
            raise Problem(401, "Open the studio's page first; it needs a cookie.")
        for key in (f"code {visitor['id']}", f"code {self.address(request)}"):
            if not self.rates.allow(key, TRIES, 60):
                raise Problem(429, "Too many tries; wait a minute.")
        given = hashed(code).encode()
        for rights in ("operator", "visitor"):
            wanted = self.codes[rights]
            if wanted and hmac.compare_digest(given, hashed(wanted).encode()):
                self.store.grant(visitor["id"], rights)
                return rights
        raise Problem(403, "This is not the code.")

    @staticmethod
    def address(request: Request) -> str:
        """Where a request comes from, as it is counted."""
        return network(request.client.host if request.client else "")

    def count(self, request: Request, visitor: str, most: int, of_address: int) -> None:
        """Count an upload or a job.

        Cookies cost nothing, so addresses are counted too.

        Raises:
            Problem: there were too many in the last hour.
        """
        for key, limit in ((f"{visitor}", most), (self.address(request), of_address)):
            if not self.rates.allow(f"hour {key}", limit, HOUR):
                raise Problem(429, "That was very much in one hour; please come back later.")


async def body_of(
    request: Request, most: int, part_s: float = PART_SECONDS, whole_s: float = BODY_SECONDS
) -> bytes:
    """A body, counted while it is read.

    Raises:
        Problem: it is too large, or comes too slowly.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise Problem(413, f"That is too large; {most / 2**20:.3g} MB at most.")
    data = bytearray()
    stream = request.stream().__aiter__()
    try:
        async with asyncio.timeout(whole_s):
            while True:
                try:
                    data += await asyncio.wait_for(anext(stream), part_s)
                except StopAsyncIteration:
                    return bytes(data)
                if len(data) > most:
                    raise Problem(413, f"That is too large; {most / 2**20:.3g} MB at most.")
    except TimeoutError:
        raise Problem(408, "That came too slowly.") from None
    except ClientDisconnect:
        raise Problem(400, "That was broken off.") from None
