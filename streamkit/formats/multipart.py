"""Multipart bodies: parts that follow, or replace, each other."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Unpack

from starlette.background import BackgroundTask

from streamkit.declare import Option, flag, some_text
from streamkit.encoders import Encoder
from streamkit.encoders.charsets import find_charset
from streamkit.encoders.multipart import MultipartEncoder
from streamkit.http.byteranges import make_boundary, multipart_type
from streamkit.http.mediatypes import parameter
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = ["MultipartOptions", "MultipartStreamingResponse"]


class MultipartOptions(ResponseOptions, total=False):
    """What multipart adds to the class attributes."""

    part_media_type: str | None
    part_length: Annotated[
        bool, Option(False, flag, text="A `Content-Length` in each part that replaces another.")
    ]
    boundary: Annotated[
        str | None, Option(None, some_text, text="What stands between parts; by default random.")
    ]


class MultipartStreamingResponse(StreamingResponse):
    """Streams parts, `multipart/x-mixed-replace`: in an `<img>`, pictures that move.

    Items are `MultipartPart`, or bytes of one `part_media_type`. `media_type="multipart/mixed"`
    is for readers that want all parts, each of which has a `Content-Length` then. In a stream of
    parts that replace each other it has one with `part_length=True`, which some cameras' readers
    need; browsers then show each picture when the next one comes, and by default at once. The
    `boundary` is 128 random bits unless it, or a type that names one, is given.

        @app.get("/camera")
        def camera():
            return MultipartStreamingResponse(frames(), part_media_type="image/jpeg")
    """

    media_type = "multipart/x-mixed-replace"
    options: ClassVar[type] = MultipartOptions
    _has_own_encoder = True
    part_media_type: str | None = None
    part_length: bool = False
    boundary: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
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
            **options: Unpack[MultipartOptions],
        ) -> None: ...

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers(headers)
        typed = self.headers.get("content-type", "")
        essence = typed.partition(";")[0].strip().lower()
        if not essence.startswith("multipart/"):
            raise ValueError(
                f"the media_type of a multipart response must be multipart/..., "
                f"got {essence!r}; part_media_type is the one of its parts"
            )
        self._replaces = essence == "multipart/x-mixed-replace"
        said = parameter(typed, "boundary")
        # The string itself: a subclass of str (an enum, say) may show itself as something else.
        given = said if self.boundary is None else str.__str__(self.boundary)
        if said not in (None, given):
            raise ValueError(
                f"the type of this response says boundary={said}, and boundary={given!r} was "
                f"passed; leave one of them out"
            )
        self._boundary = make_boundary() if given is None else given.encode()
        if said is None:
            _, _, subtype = typed.partition("/")
            typed = multipart_type(subtype, self._boundary).decode("latin-1")
            self.headers["content-type"] = typed

    def make_encoder(self) -> Encoder[Any]:
        if find_charset(self._charset).codec != "utf-8":
            raise ValueError(
                f"the parts of a multipart response are bytes, which charset={self._charset!r} "
                f"does not change; name it in part_media_type"
            )
        return MultipartEncoder(
            self.part_media_type,
            self._boundary,
            replace=self._replaces,
            part_length=self.part_length,
        )
