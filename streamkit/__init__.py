"""Streaming responses for FastAPI and Starlette that are fast, closed and honest."""

from __future__ import annotations

from streamkit.adapters import async_file_chunks, file_chunks, rechunk, split_lines
from streamkit.bridge import iterate_from_thread, iterate_in_threadpool, iterate_writes
from streamkit.encoders import Encoder
from streamkit.errors import BodyCut, SendTimeout, StreamKitError, StreamStopped
from streamkit.media import (
    AACStreamingResponse,
    ArrowStreamStreamingResponse,
    AVIFStreamingResponse,
    FLACStreamingResponse,
    GIFStreamingResponse,
    GZIPStreamingResponse,
    HTMLStreamingResponse,
    JPEGStreamingResponse,
    MP3StreamingResponse,
    MP4StreamingResponse,
    MPEGTSStreamingResponse,
    OctetStreamStreamingResponse,
    OGGStreamingResponse,
    PDFStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    SVGStreamingResponse,
    TARStreamingResponse,
    WAVStreamingResponse,
    WebMStreamingResponse,
    WebPStreamingResponse,
    XMLStreamingResponse,
    ZIPStreamingResponse,
)
from streamkit.producers import stream_limiter
from streamkit.responses import StreamingResponse
from streamkit.sender import StreamOutcome

__all__ = [
    "AACStreamingResponse",
    "AVIFStreamingResponse",
    "ArrowStreamStreamingResponse",
    "BodyCut",
    "Encoder",
    "FLACStreamingResponse",
    "GIFStreamingResponse",
    "GZIPStreamingResponse",
    "HTMLStreamingResponse",
    "JPEGStreamingResponse",
    "MP3StreamingResponse",
    "MP4StreamingResponse",
    "MPEGTSStreamingResponse",
    "OGGStreamingResponse",
    "OctetStreamStreamingResponse",
    "PDFStreamingResponse",
    "PNGStreamingResponse",
    "PlainTextStreamingResponse",
    "SVGStreamingResponse",
    "SendTimeout",
    "StreamKitError",
    "StreamOutcome",
    "StreamStopped",
    "StreamingResponse",
    "TARStreamingResponse",
    "WAVStreamingResponse",
    "WebMStreamingResponse",
    "WebPStreamingResponse",
    "XMLStreamingResponse",
    "ZIPStreamingResponse",
    "async_file_chunks",
    "file_chunks",
    "iterate_from_thread",
    "iterate_in_threadpool",
    "iterate_writes",
    "rechunk",
    "split_lines",
    "stream_limiter",
]
