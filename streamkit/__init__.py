"""Streaming responses for FastAPI and Starlette that are fast, closed and honest."""

from __future__ import annotations

from streamkit.adapters import async_file_chunks, file_chunks, rechunk, split_events, split_lines
from streamkit.archives import Member, TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.asgi.listen import request_chunks
from streamkit.asgi.truncate import Honest
from streamkit.bridge import ThreadIterator, iterate_from_thread
from streamkit.encoders import Encoder
from streamkit.encoders.multipart import MultipartPart
from streamkit.encoders.sse import ServerSentEvent
from streamkit.errors import (
    BodyCut,
    ClientTooSlow,
    DeadlineExceeded,
    GraceExceeded,
    ItemTimeout,
    SendTimeout,
    SourceError,
    StreamKitError,
    StreamStopped,
    ThreadTimeout,
)
from streamkit.formats import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    SSEStreamingResponse,
    last_event_id,
)
from streamkit.iterate import (
    Stream,
    WritableFile,
    iterate_in_threadpool,
    iterate_writes,
)
from streamkit.limit import StreamLimit
from streamkit.media import (
    AACStreamingResponse,
    ArrowStreamingResponse,
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
    ParquetStreamingResponse,
    PDFStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    SVGStreamingResponse,
    WAVStreamingResponse,
    WebMStreamingResponse,
    WebPStreamingResponse,
    XLSXStreamingResponse,
    XMLStreamingResponse,
)
from streamkit.objectstore import ObjectStoreSource
from streamkit.observing import Observer, OpenStreamInfo, StreamInfo, observe, open_streams
from streamkit.outcome import StreamOutcome
from streamkit.responses import StreamingResponse
from streamkit.shutdown import Shutdown, graceful_shutdown
from streamkit.sources import ByteSource, BytesSource, FileSource, PathSource, SourceInfo
from streamkit.start import ResponseStart
from streamkit.threads import stream_limiter

__version__ = "0.1.0"

__all__ = [
    "AACStreamingResponse",
    "AVIFStreamingResponse",
    "ArrowStreamStreamingResponse",
    "ArrowStreamingResponse",
    "BodyCut",
    "ByteSource",
    "BytesSource",
    "CSVStreamingResponse",
    "ClientTooSlow",
    "DeadlineExceeded",
    "Encoder",
    "FLACStreamingResponse",
    "FileSource",
    "FileStreamingResponse",
    "GIFStreamingResponse",
    "GZIPStreamingResponse",
    "GraceExceeded",
    "HTMLStreamingResponse",
    "Honest",
    "ItemTimeout",
    "JPEGStreamingResponse",
    "JSONArrayStreamingResponse",
    "JSONLinesStreamingResponse",
    "MP3StreamingResponse",
    "MP4StreamingResponse",
    "MPEGTSStreamingResponse",
    "Member",
    "MultipartPart",
    "MultipartStreamingResponse",
    "OGGStreamingResponse",
    "ObjectStoreSource",
    "Observer",
    "OctetStreamStreamingResponse",
    "OpenStreamInfo",
    "PDFStreamingResponse",
    "PNGStreamingResponse",
    "ParquetStreamingResponse",
    "PathSource",
    "PlainTextStreamingResponse",
    "ResponseStart",
    "SSEStreamingResponse",
    "SVGStreamingResponse",
    "SendTimeout",
    "ServerSentEvent",
    "Shutdown",
    "SourceError",
    "SourceInfo",
    "Stream",
    "StreamInfo",
    "StreamKitError",
    "StreamLimit",
    "StreamOutcome",
    "StreamStopped",
    "StreamingResponse",
    "TARStreamingResponse",
    "ThreadIterator",
    "ThreadTimeout",
    "WAVStreamingResponse",
    "WebMStreamingResponse",
    "WebPStreamingResponse",
    "WritableFile",
    "XLSXStreamingResponse",
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
    "observe",
    "open_streams",
    "rechunk",
    "request_chunks",
    "split_events",
    "split_lines",
    "stream_limiter",
]
