"""The typed responses whose items are values: rows, events, parts. A module for each format."""

from __future__ import annotations

from streamkit.formats.csv import CSVStreamingResponse
from streamkit.formats.json import JSONArrayStreamingResponse, JSONLinesStreamingResponse
from streamkit.formats.multipart import MultipartStreamingResponse
from streamkit.formats.sse import SSEStreamingResponse, last_event_id

__all__ = [
    "CSVStreamingResponse",
    "JSONArrayStreamingResponse",
    "JSONLinesStreamingResponse",
    "MultipartStreamingResponse",
    "SSEStreamingResponse",
    "last_event_id",
]
