"""What of a response is needed to send it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from starlette.background import BackgroundTask

from streamkit.body.of import Opened
from streamkit.bytesource import Given
from streamkit.encoders import Encoder
from streamkit.iterate import Stream
from streamkit.limit import StreamLimit

__all__ = ["Sendable"]


class Sendable(Protocol):
    """A response, as it is when it is called; `StreamingResponse` is one."""

    status_code: int
    background: BackgroundTask | None

    @property
    def media_type(self) -> str | None: ...

    max_buffer: int
    first_chunk_timeout: float | None
    send_timeout: float | None
    item_timeout: float | None
    thread_timeout: float | None
    keep_alive: float | None
    cleanup_timeout: float | None
    deadline: float | None
    min_rate: float | None
    min_rate_grace: float
    max_rate: float | None
    limit: StreamLimit | None
    error_frames: bool
    on_close: Any
    _opened: Opened
    _encoder: Encoder[Any]
    _max_buffer: int
    _given: Given
    _codings: tuple[str, ...]
    _precompressed: bool
    _looked_at: Stream[bytes] | None
    _replacement: Any
    _displaced: list[Stream[bytes]]
    _ends_on_shutdown: bool

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]: ...
    def option(self, name: str) -> Any: ...
    def _farewell(self) -> Callable[[], bytes] | None: ...
    def _error_frame(self, encoder: Any, error: Exception) -> bytes: ...
