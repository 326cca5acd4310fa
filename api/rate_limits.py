"""How often an address and a worker may ask: sliding windows in this process's memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import KIND_OF, problem
from app.errors import TooManyRequests
from app.settings import get_settings

# Where a password or a secret could be guessed.
GUESSABLE = {("POST", "/auth/login"), ("POST", "/auth/refresh"), ("PUT", "/account/password")}
FORGET_EVERY = 60.0  # seconds
_SENTENCE = "Too many requests came in a short time. Try again in {seconds} seconds."


class _Counts(MemoryStorage):
    """Counts that are forgotten in passing.

    `MemoryStorage` starts a thread for that at almost every request, which costs more than the counting.
    """

    def __init__(self) -> None:
        super().__init__()
        self._forgotten_at = time.time()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the count of `key`, which is forgotten after `expiry` seconds; return the count."""
        now = time.time()
        if now > self._forgotten_at + FORGET_EVERY:
            self._forgotten_at = now
            for each in list(self.expirations):
                self.get(each)  # forgets what has expired
        self.get(key)
        with self.locks[key]:
            self.storage[key] += amount
            if self.storage[key] == amount:
                self.expirations[key] = now + expiry
        return self.storage.get(key, 0)


class RequestRates:
    """The requests of the last time, by who or where they came from."""

    def __init__(self) -> None:
        settings = get_settings()
        self._limiter = SlidingWindowCounterRateLimiter(_Counts())
        self._worker = parse_many(settings.rate_limit_worker)
        self._address = parse_many(settings.rate_limit_address)
        self._sign_in = parse_many(settings.rate_limit_sign_in)

    def count_worker(self, worker_id: int) -> None:
        """Count a request of a worker; raises `TooManyRequests`."""
        self._count(self._worker, "worker", str(worker_id))

    def count_address(self, address: str, *, guessable: bool) -> None:
        """Count a request from an address; raises `TooManyRequests`."""
        self._count(self._address, "address", address)
        if guessable:
            self._count(self._sign_in, "sign-in", address)

    def _count(self, items: Iterable[RateLimitItem], policy: str, who: str) -> None:
        for item in items:
            if self._limiter.hit(item, policy, who):
                continue
            reset = self._limiter.get_window_stats(item, policy, who).reset_time
            seconds = max(1, math.ceil(reset - time.time()))
            raise TooManyRequests(
                _SENTENCE.format(seconds=seconds),
                {
                    "Retry-After": str(seconds),
                    "RateLimit-Policy": f'"{policy}";q={item.amount};w={item.get_expiry()}',
                    "RateLimit": f'"{policy}";r=0;t={seconds}',
                },
            )


class AddressLimit:
    """Middleware that counts requests by address before anything of them is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._rates = RequestRates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        address = scope["client"][0] if scope.get("client") else "unknown"
        try:
            self._rates.count_address(address, guessable=(scope["method"], path) in GUESSABLE)
        except TooManyRequests as error:
            answer = problem(scope, KIND_OF[TooManyRequests], str(error), headers=error.headers)
            await answer(scope, receive, send)
            return
        scope.setdefault("state", {})["rates"] = self._rates
        await self.app(scope, receive, send)
