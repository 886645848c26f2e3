"""Every typed response: a class and a line each.

Subclass any of them, or `StreamingResponse`, for a type of your own: `media_type` is all it needs.

    class WASMStreamingResponse(StreamingResponse):
        media_type = "application/wasm"
"""

from __future__ import annotations

from streamkit.responses import StreamingResponse

__all__ = [
    "AACStreamingResponse",
    "AVIFStreamingResponse",
    "ArrowStreamStreamingResponse",
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
    "TARStreamingResponse",
    "WAVStreamingResponse",
    "WebMStreamingResponse",
    "WebPStreamingResponse",
    "XMLStreamingResponse",
    "ZIPStreamingResponse",
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


class ZIPStreamingResponse(StreamingResponse):
    """Streams a zip archive, `application/zip`."""

    media_type = "application/zip"


class GZIPStreamingResponse(StreamingResponse):
    """Streams a gzip file, `application/gzip`."""

    media_type = "application/gzip"


class TARStreamingResponse(StreamingResponse):
    """Streams a tar archive, `application/x-tar`."""

    media_type = "application/x-tar"


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


class ArrowStreamStreamingResponse(StreamingResponse):
    """Streams what `pyarrow.ipc.new_stream` writes, `application/vnd.apache.arrow.stream`."""

    media_type = "application/vnd.apache.arrow.stream"
