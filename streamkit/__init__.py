"""Streaming responses for FastAPI and Starlette that are fast, closed and honest."""

from __future__ import annotations

from streamkit.adapters import async_file_chunks, file_chunks, rechunk, split_lines
from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.bridge import iterate_from_thread, iterate_in_threadpool, iterate_writes
from streamkit.encoders import Encoder
from streamkit.encoders.multipart import MultipartPart
from streamkit.encoders.sse import ServerSentEvent
from streamkit.errors import (
    BodyCut,
    GraceExceeded,
    SendTimeout,
    SourceError,
    StreamKitError,
    StreamStopped,
)
from streamkit.formats import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    SSEStreamingResponse,
    last_event_id,
)
from streamkit.media import (
    AACStreamingResponse,
    ArrowStreamStreamingResponse,
    AVIFStreamingResponse,
    FileStreamingResponse,
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
    WAVStreamingResponse,
    WebMStreamingResponse,
    WebPStreamingResponse,
    XMLStreamingResponse,
)
from streamkit.objectstore import ObjectStoreSource
from streamkit.producers import stream_limiter
from streamkit.responses import StreamingResponse
from streamkit.sender import StreamOutcome
from streamkit.shutdown import Shutdown, graceful_shutdown
from streamkit.sources import ByteSource, BytesSource, FileSource, PathSource, SourceInfo

__version__ = "0.1.0"

__all__ = [
    "AACStreamingResponse",
    "AVIFStreamingResponse",
    "ArrowStreamStreamingResponse",
    "BodyCut",
    "ByteSource",
    "BytesSource",
    "CSVStreamingResponse",
    "Encoder",
    "FLACStreamingResponse",
    "FileSource",
    "FileStreamingResponse",
    "GIFStreamingResponse",
    "GZIPStreamingResponse",
    "GraceExceeded",
    "HTMLStreamingResponse",
    "JPEGStreamingResponse",
    "JSONArrayStreamingResponse",
    "JSONLinesStreamingResponse",
    "MP3StreamingResponse",
    "MP4StreamingResponse",
    "MPEGTSStreamingResponse",
    "MultipartPart",
    "MultipartStreamingResponse",
    "OGGStreamingResponse",
    "ObjectStoreSource",
    "OctetStreamStreamingResponse",
    "PDFStreamingResponse",
    "PNGStreamingResponse",
    "PathSource",
    "PlainTextStreamingResponse",
    "SSEStreamingResponse",
    "SVGStreamingResponse",
    "SendTimeout",
    "ServerSentEvent",
    "Shutdown",
    "SourceError",
    "SourceInfo",
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
    "ZipMember",
    "async_file_chunks",
    "file_chunks",
    "graceful_shutdown",
    "iterate_from_thread",
    "iterate_in_threadpool",
    "iterate_writes",
    "last_event_id",
    "rechunk",
    "split_lines",
    "stream_limiter",
]
