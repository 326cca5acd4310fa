"""A pool of database connections that counts how often somebody had to wait for one."""

from __future__ import annotations

from sqlalchemy import PoolProxiedConnection, QueuePool

KEPT = 5  # connections that stay open
MORE = 10  # that are opened when those are in use


class CountingPool(QueuePool):
    """SQLAlchemy's own pool; `waits` is how often all connections were in use when one was asked for."""

    waits = 0

    def connect(self) -> PoolProxiedConnection:
        """Return a connection, after a wait if all are in use."""
        if self.checkedout() >= KEPT + MORE:
            self.waits += 1
        return super().connect()
