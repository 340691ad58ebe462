"""The mailbox between the engines and the driver of the runner `lanes`.

A file of its own that imports next to nothing: the mailbox's process starts while the engines start, and would
otherwise import torch beside them.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Mailbox:
    """Where messages wait for their answers. An async actor: a waiting engine costs nothing.

    Args:
        over: the answer to whoever asks after the mailbox was closed.
    """

    def __init__(self, over: str) -> None:
        self._over = over
        self._changed = asyncio.Condition()
        self._session: int | None = None
        self._data: list[Any] = []
        self._lanes = 1
        self._closed = False
        self._messages: list[tuple[int, str]] = []
        self._answers: dict[int, Any] = {}
        self._tickets = 0

    async def open(self, session: int, data: list[Any], lanes: int) -> None:
        """Begins a session; `data` holds a reference to its folds, `lanes` is how many an engine has."""
        async with self._changed:
            self._session, self._data, self._lanes = session, data, lanes
            self._changed.notify_all()

    async def end(self) -> None:
        """Ends the session."""
        async with self._changed:
            self._session, self._data = None, []

    async def close(self) -> None:
        """There will be no session any more."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
        for ticket in list(self._answers):
            await self.reply(ticket, self._over)

    async def session(self, after: int) -> tuple[int, list[Any], int] | None:
        """Waits for a session later than `after`: its number, data and lanes; None when there will be none."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or (self._session or 0) > after)
            return None if self._closed else (self._session or 0, self._data, self._lanes)

    async def exchange(self, text: str) -> str:
        """Leaves a message and waits for the answer."""
        if self._closed:
            return self._over
        self._tickets += 1
        ticket = self._tickets  # other calls increment it while this one waits for the lock
        answer = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        async with self._changed:
            self._messages.append((ticket, text))
            self._changed.notify_all()
        return str(await answer)

    async def take(self, patience: float) -> list[tuple[int, str]]:
        """All messages that are there, the oldest first; waits up to `patience` seconds for one. A call costs more than
        most messages do, so that what many engines say comes with one call."""
        async with self._changed:
            if not self._messages and patience > 0:
                try:
                    await asyncio.wait_for(self._changed.wait_for(lambda: bool(self._messages)), patience)
                except TimeoutError:
                    return []
            taken, self._messages = self._messages, []
            return taken

    async def reply(self, ticket: int, text: str) -> None:
        """Answers a message."""
        answer = self._answers.pop(ticket, None)  # None where `close` has answered it
        if answer is not None and not answer.done():
            answer.set_result(text)
