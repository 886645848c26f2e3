"""Every typed response: a class and a line each.

Subclass any of them, or `StreamingResponse`, for a type of your own: `media_type` is all it needs.

    class WASMStreamingResponse(StreamingResponse):
        media_type = "application/wasm"
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Unpack

from starlette.background import BackgroundTask

from streamkit.declare import Option, flag
from streamkit.openapi import Responses
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = [
    "AACStreamingResponse",
    "AVIFStreamingResponse",
    "ArrowStreamStreamingResponse",
    "ArrowStreamingResponse",
    "FLACStreamingResponse",
    "FileStreamingResponse",
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
    "ParquetStreamingResponse",
    "PlainTextStreamingResponse",
    "SVGStreamingResponse",
    "WAVStreamingResponse",
    "WebMStreamingResponse",
    "WebPStreamingResponse",
    "XLSXStreamingResponse",
    "XMLStreamingResponse",
]


class PNGStreamingResponse(StreamingResponse):
    """Streams a PNG image, `image/png`."""

    media_type = "image/png"


class JPEGStreamingResponse(StreamingResponse):
    """Streams a JPEG image, `image/jpeg`."""

    media_type = "image/jpeg"


class GIFStreamingResponse(StreamingResponse):
    """Streams a GIF image, `image/gif`."""

    media_type = "image/gif"


class WebPStreamingResponse(StreamingResponse):
    """Streams a WebP image, `image/webp`."""

    media_type = "image/webp"


class AVIFStreamingResponse(StreamingResponse):
    """Streams an AVIF image, `image/avif`."""

    media_type = "image/avif"


class SVGStreamingResponse(StreamingResponse):
    """Streams an SVG image, `image/svg+xml`."""

    media_type = "image/svg+xml"


class MP3StreamingResponse(StreamingResponse):
    """Streams MP3 audio, `audio/mpeg`."""

    media_type = "audio/mpeg"


class AACStreamingResponse(StreamingResponse):
    """Streams AAC audio, `audio/aac`."""

    media_type = "audio/aac"


class OGGStreamingResponse(StreamingResponse):
    """Streams Ogg audio, `audio/ogg`."""

    media_type = "audio/ogg"


class FLACStreamingResponse(StreamingResponse):
    """Streams FLAC audio, `audio/flac`."""

    media_type = "audio/flac"


class WAVStreamingResponse(StreamingResponse):
    """Streams WAV audio, `audio/wav`."""

    media_type = "audio/wav"


class MP4StreamingResponse(StreamingResponse):
    """Streams an MP4 video, `video/mp4`."""

    media_type = "video/mp4"


class WebMStreamingResponse(StreamingResponse):
    """Streams a WebM video, `video/webm`."""

    media_type = "video/webm"


class MPEGTSStreamingResponse(StreamingResponse):
    """Streams an MPEG transport stream, `video/mp2t`."""

    media_type = "video/mp2t"


class PDFStreamingResponse(StreamingResponse):
    """Streams a PDF document, `application/pdf`."""

    media_type = "application/pdf"


class GZIPStreamingResponse(StreamingResponse):
    """Streams a gzip file, `application/gzip`."""

    media_type = "application/gzip"


class XMLStreamingResponse(StreamingResponse):
    """Streams XML, `application/xml`."""

    media_type = "application/xml"


class HTMLStreamingResponse(StreamingResponse):
    """Streams HTML, `text/html`."""

    media_type = "text/html"


class PlainTextStreamingResponse(StreamingResponse):
    """Streams plain text, `text/plain`."""

    media_type = "text/plain"


class OctetStreamStreamingResponse(StreamingResponse):
    """Streams bytes of no particular type, `application/octet-stream`."""

    media_type = "application/octet-stream"


class XLSXStreamingResponse(StreamingResponse):
    """Streams an Excel workbook, `.xlsx`, as XlsxWriter, openpyxl and pandas write it."""

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ParquetStreamingResponse(StreamingResponse):
    """Streams a Parquet file, `application/vnd.apache.parquet`."""

    media_type = "application/vnd.apache.parquet"


class ArrowStreamingResponse(StreamingResponse):
    """Streams what `pyarrow.ipc.new_stream` writes, `application/vnd.apache.arrow.stream`."""

    media_type = "application/vnd.apache.arrow.stream"


ArrowStreamStreamingResponse = ArrowStreamingResponse
"""`ArrowStreamingResponse` by its former name."""


def _untyped(options: Any) -> Any:
    """Options for a base class that knows fewer: it checks them by the class's own list."""
    return options


class FileOptions(ResponseOptions, total=False):
    """The options of a file's response."""

    precompressed: Annotated[
        bool, Option(False, flag, text="Send a compressed sibling where the request accepts one.")
    ]


class FileStreamingResponse(StreamingResponse):
    """Serves a regular file by its path, with ranges, validators and a guessed type.

    `path` may be `str`. The type is guessed from `filename`, or from the path, unless
    `media_type` is given, and is `application/octet-stream` if nothing is known. The file is
    opened when the response starts: a missing one raises `FileNotFoundError` before the status
    line, which an exception handler can make a 404. A path from a URL must be checked first.

    `precompressed` (False): send `path.zst`, `path.br` or `path.gz` in place of the file, as the
    request accepts it, if one is there and not older; with its own length, validators and ranges.

        @app.get("/film")
        def film():
            return FileStreamingResponse("film.mp4")
    """

    options: ClassVar[type] = FileOptions
    precompressed: bool

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        filename: str | None = None,
        content_disposition_type: str = "attachment",
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        on_close: OnClose | None = None,
        **limits: Unpack[FileOptions],
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"FileStreamingResponse takes a path, got {type(path).__name__}; "
                f"for any other content use StreamingResponse"
            )
        super().__init__(
            Path(path),
            status_code,
            headers,
            media_type or self.media_type or _guess_type(filename or os.fspath(path)),
            background,
            filename=filename,
            content_disposition_type=content_disposition_type,
            etag=etag,
            last_modified=last_modified,
            on_close=on_close,
            **_untyped(limits),
        )
        self._precompressed = self.precompressed

    @classmethod
    def openapi(cls, *, media_type: str | None = None, source: bool = True) -> Responses:
        """As `StreamingResponse.openapi`, for a source; any media type unless given."""
        return super().openapi(media_type=media_type, source=source)


def _guess_type(name: str) -> str:
    guessed, encoding = mimetypes.guess_type(name)
    # `.tar.gz` holds a tar archive, but the bytes are gzip.
    if encoding == "gzip":
        return "application/gzip"
    return guessed if guessed is not None and encoding is None else "application/octet-stream"
