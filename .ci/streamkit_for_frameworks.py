"""A pytest plugin: tests of Starlette and FastAPI import our class and function, not theirs."""

from __future__ import annotations

import starlette.concurrency
import starlette.responses

import streamkit

starlette.responses.StreamingResponse = streamkit.StreamingResponse  # type: ignore[misc]
starlette.concurrency.iterate_in_threadpool = streamkit.iterate_in_threadpool  # type: ignore[assignment]
