"""A pytest plugin: Starlette's and FastAPI's tests import our class and function instead of theirs."""

from __future__ import annotations

import starlette.concurrency
import starlette.responses

import streamkit

starlette.responses.StreamingResponse = streamkit.StreamingResponse  # type: ignore[misc]
starlette.concurrency.iterate_in_threadpool = streamkit.iterate_in_threadpool  # type: ignore[assignment]
