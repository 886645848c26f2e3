"""Answers one request with one response, and sees to what belongs to its begin and its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable

import anyio
from starlette.types import Receive, Scope, Send

from streamkit import observing
from streamkit.asgi.writer import Writer
from streamkit.limit import StreamLimit
from streamkit.outcome import StreamOutcome
from streamkit.sendable import Sendable
from streamkit.serve import Transfer
from streamkit.shutdown import forget, register
from streamkit.transfers import transfer_of
from streamkit.whole import WholeTransfer

__all__ = ["respond"]

logger: logging.Logger = logging.getLogger("streamkit")


async def respond(response: Sendable, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response, close its content, tell `on_close`, and run background tasks."""
    writer = Writer(scope, send, response.status_code, response.raw_headers)
    transfer = transfer_of(response, scope, send, writer)
    release = None if response.limit is None else _take_place(response.limit, scope, transfer)
    try:
        await _send(response, receive, transfer)
    finally:
        if release is not None:
            release()
    if response.background is not None:
        await response.background()


def _take_place(
    limit: StreamLimit, scope: Scope, transfer: Transfer | WholeTransfer
) -> Callable[[], None] | None:
    """A place of the response's limit; without one the response ends before it begins."""
    try:
        return limit.acquire(scope)
    except BaseException as exc:
        transfer.end("error", exc)
        return None


async def _send(response: Sendable, receive: Receive, transfer: Transfer | WholeTransfer) -> None:
    writer = transfer.writer
    observation = writer.observation = observing.observe_response(
        transfer.scope, response.raw_headers
    )
    register(transfer)
    observing.register(transfer)
    try:
        cancellation = await transfer.run(receive)
    finally:
        forget(transfer)
        observing.forget(transfer)
        outcome = transfer.outcome
        try:
            if response.on_close is not None:
                await _tell(response, outcome)
        finally:
            # Also if this task is cancelled meanwhile.
            if observation is not None:
                observation.ended(outcome)
            if not writer.complete:
                await transfer.ending.show()
    raised = cancellation or transfer.ending.raised()
    if raised is not None:
        raise raised


async def _tell(response: Sendable, outcome: StreamOutcome) -> None:
    on_close = response.option("on_close")
    try:
        with anyio.CancelScope(shield=True):
            result = on_close(outcome)
            if isawaitable(result):
                await result
    except Exception:
        logger.exception("on_close failed")
