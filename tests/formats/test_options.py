"""Options of the formats: each acts, in the headers and in the bytes, or is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    StreamingResponse,
)
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.testing import FetchedResponse, fetch, stream, virtual_time
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

ASYNCIO, UVLOOP, TRIO = BACKENDS
PATIENCE = 10.0


async def get(response: Any) -> FetchedResponse:
    with anyio.fail_after(PATIENCE):
        return await fetch(response)


# charset


@pytest.mark.parametrize(
    ("given", "content_type", "codec"),
    [
        ({}, "text/csv; charset=utf-8", "utf-8"),
        ({"charset": "cp1252"}, "text/csv; charset=cp1252", "cp1252"),
        ({"charset": "utf-16"}, "text/csv; charset=utf-16", "utf-16"),
        ({"charset": "utf-8-sig"}, "text/csv; charset=utf-8", "utf-8-sig"),
        (
            {"media_type": "text/csv; charset=utf-8", "charset": "utf-8-sig"},
            "text/csv; charset=utf-8",
            "utf-8-sig",
        ),
        ({"charset": "shift_jis"}, "text/csv; charset=shift_jis", "shift_jis"),
        (
            {"media_type": "text/csv; charset=cp1252; header=present"},
            "text/csv; charset=cp1252; header=present",
            "cp1252",
        ),
        (
            {"media_type": 'text/csv; charset="CP1252"', "charset": "cp1252"},
            'text/csv; charset="CP1252"',
            "cp1252",
        ),
        (
            {"headers": {"content-type": "text/csv; charset=cp1252"}, "charset": "cp1252"},
            "text/csv; charset=cp1252",
            "cp1252",
        ),
        (
            {"headers": {"content-type": "text/csv; charset=cp1252"}},
            "text/csv; charset=cp1252",
            "cp1252",
        ),
        ({"headers": {"content-type": "text/csv"}, "charset": "cp1252"}, "text/csv", "cp1252"),
        ({"media_type": "application/csv", "charset": "cp1252"}, "application/csv", "cp1252"),
    ],
)
async def test_csv_is_of_the_charset_that_its_type_says(
    given: dict[str, Any], content_type: str, codec: str
) -> None:
    text = "日本" if codec == "shift_jis" else "é"
    response = await get(CSVStreamingResponse([{"a": text}], **given))

    assert response.headers["content-type"] == content_type
    assert response.body.decode(codec) == f"a\r\n{text}\r\n"


@pytest.mark.parametrize(
    "given",
    [
        {"media_type": "text/csv; charset=cp1252", "charset": "utf-8"},
        {"headers": {"content-type": "text/csv; charset=utf-8"}, "charset": "utf-16"},
        {"headers": {"content-type": "text/csv; charset=utf-16-le"}, "charset": "utf-16"},
    ],
)
async def test_csv_whose_type_says_another_charset_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"the type of this CSV.* says charset=.*pass the same one"
    ):
        CSVStreamingResponse([], **given)


async def test_csv_of_a_class_has_its_charset() -> None:
    class Export(CSVStreamingResponse):
        charset = "cp1252"
        unencodable = "replace"

    response = await get(Export([["€Ω"]]))
    assert response.body == b"\x80?\r\n"


async def test_a_cell_without_a_place_in_the_charset_cuts_the_body() -> None:
    response = await get(CSVStreamingResponse([["a"], ["Ω"]], charset="cp1252"))
    assert not response.complete
    assert "CSV row 2 has 'Ω', for which the charset cp1252 has no place" in str(response.error)


JSON_KINDS = [JSONLinesStreamingResponse, JSONArrayStreamingResponse, SSEStreamingResponse]


@pytest.mark.parametrize("kind", JSON_KINDS)
@pytest.mark.parametrize(
    "given",
    [
        {"charset": "latin-1"},
        {"charset": "utf-8-sig"},
        {"media_type": "application/json; charset=latin-1"},
        {"headers": {"content-type": "text/event-stream; charset=utf-16"}},
    ],
)
async def test_json_and_events_are_utf8_or_refused(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__} is always UTF-8 .*got charset="):
        kind([], **given)


@pytest.mark.parametrize("kind", JSON_KINDS)
async def test_utf8_by_any_of_its_names_is_taken(kind: Any) -> None:
    kind([], charset="UTF8")
    kind([], media_type='application/json; charset="utf-8"')


async def test_a_charset_of_multipart_is_refused_since_parts_are_bytes() -> None:
    with pytest.raises(ValueError, match="name it in part_media_type"):
        MultipartStreamingResponse([], charset="latin-1")


@pytest.mark.parametrize("kind", [CSVStreamingResponse, *JSON_KINDS, MultipartStreamingResponse])
async def test_a_charset_that_is_none_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="charset 'klingon' is none that Python can encode"):
        kind([], charset="klingon")


@pytest.mark.parametrize("kind", [CSVStreamingResponse, *JSON_KINDS, MultipartStreamingResponse])
async def test_an_encoder_beside_that_of_the_format_is_refused(kind: Any) -> None:
    error = r"takes no encoder, for it has its own; .*pass encoder= .*to StreamingResponse"
    with pytest.raises(ValueError, match=error):
        kind([], encoder=JSONLinesEncoder)
    with pytest.raises(ValueError, match=error):
        type("Mine", (kind,), {"encoder": JSONLinesEncoder})([])


# rows


class Pair(NamedTuple):
    x: int
    y: int


async def test_ragged_rows_are_options_of_the_response() -> None:
    class Export(CSVStreamingResponse):
        missing = ""
        extra = "ignore"

    rows = [{"a": 1, "b": 2}, {"a": 3, "c": 4}]
    for response in (Export(rows), CSVStreamingResponse(rows, missing="", extra="ignore")):
        assert (await get(response)).body == b"a,b\r\n1,2\r\n3,\r\n"
    assert "missing=" in str((await get(CSVStreamingResponse(rows))).error)


@pytest.mark.parametrize(
    ("name", "value"),
    [("extra", "raise"), ("unencodable", "ignore"), ("excel", 1), ("escape_formulas", "yes")],
)
async def test_an_option_of_csv_with_a_wrong_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
        CSVStreamingResponse([], **{name: value})


@pytest.mark.parametrize("kind", [CSVStreamingResponse, *JSON_KINDS, StreamingResponse])
async def test_a_data_frame_as_content_is_refused_with_what_to_pass(kind: Any) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    for table, way_out in (
        (pandas.DataFrame({"a": [1]}), "to_dict"),
        (polars.DataFrame({"a": [1]}), "iter_rows"),
        (pyarrow.table({"a": [1]}), "to_pylist"),
    ):
        with pytest.raises(TypeError, match=rf"{kind.__name__} content must give rows.*{way_out}"):
            kind(table)


class Value:
    def __init__(self, value: Any) -> None:
        self.value = value


def plain(value: Value) -> Any:
    return value.value


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSONLinesStreamingResponse, b'{"v":1}\n{"x":1,"y":2}\n'),
        (JSONArrayStreamingResponse, b'[{"v":1},{"x":1,"y":2}]'),
        (SSEStreamingResponse, b'data: {"v":1}\n\ndata: {"x":1,"y":2}\n\n'),
    ],
)
async def test_default_is_a_keyword_and_of_a_class(kind: Any, body: bytes) -> None:
    class WithFunction(kind):  # type: ignore[misc]
        default = plain

    class WithStatic(kind):  # type: ignore[misc]
        default = staticmethod(plain)

    class WithLambda(kind):  # type: ignore[misc]
        default = lambda value: value.value  # noqa: E731

    class WithMethod(kind):  # type: ignore[misc]
        def default(self, value: Value) -> Any:
            return value.value

    rows = [{"v": Value(1)}, Pair(1, 2)]
    for make in (WithFunction, WithStatic, WithLambda, WithMethod):
        assert (await get(make(rows))).body == body
    assert (await get(kind(rows, default=plain))).body == body


# errors


class Failure(BaseModel):
    code: int


async def failing(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item
    await anyio.sleep(0.005)
    raise KeyError("lost")


def in_openais_shape(error: Exception) -> Any:
    return {"error": {"message": f"it was {error.args[0]}", "type": "server_error"}}


SHAPE = b'{"error":{"message":"it was lost","type":"server_error"}}'


@pytest.mark.parametrize(
    ("kind", "first", "frame"),
    [
        (JSONLinesStreamingResponse, b'{"code":1}\n', SHAPE + b"\n"),
        (SSEStreamingResponse, b'data: {"code":1}\n\n', b"data: " + SHAPE + b"\n\n"),
        (JSONLinesStreamingResponse[Failure], b'{"code":1}\n', SHAPE + b"\n"),
        (SSEStreamingResponse[Failure], b'data: {"code":1}\n\n', b"data: " + SHAPE + b"\n\n"),
    ],
)
async def test_an_error_has_a_shape_of_ones_own(kind: Any, first: bytes, frame: bytes) -> None:
    class OfAClass(kind):  # type: ignore[misc]
        error_item = staticmethod(in_openais_shape)

    class OfAMethod(kind):  # type: ignore[misc]
        def error_item(self, error: Exception) -> Any:
            return in_openais_shape(error)

    for response in (
        kind(failing({"code": 1}), error_item=in_openais_shape),
        OfAClass(failing({"code": 1})),
        OfAMethod(failing({"code": 1})),
    ):
        found = await get(response)
        assert found.body == first + frame
        assert not found.complete


async def test_an_error_item_may_be_an_event() -> None:
    response = SSEStreamingResponse(
        failing("a"), error_item=lambda error: ServerSentEvent({"ok": False}, event="failed")
    )
    assert (await get(response)).body == b'data: a\n\nevent: failed\ndata: {"ok":false}\n\n'


@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, SSEStreamingResponse])
async def test_an_error_without_an_item_is_told_as_by_default(kind: Any) -> None:
    body = (await get(kind(failing("a"), error_item=lambda error: None))).body
    assert b"lost" not in body
    *_, frame = body.strip().splitlines()
    assert json.loads(frame.removeprefix(b"data: ")) == {
        "error": {
            "type": "InternalServerError",
            "message": "Internal Server Error",
            "detail": "Internal Server Error",
        }
    }


async def test_openais_client_reads_the_message_of_the_default_frame() -> None:
    body = (await get(SSEStreamingResponse(failing("a"), error_frames=True))).body
    frame = json.loads(body.split(b"data: ")[-1])
    assert frame["error"]["message"] == frame["error"]["detail"] == "Internal Server Error"


@pytest.mark.parametrize("kind", [JSONArrayStreamingResponse, CSVStreamingResponse])
async def test_an_error_item_needs_a_format_with_room_for_it(kind: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'error_item'"):
        kind([], error_item=in_openais_shape)


# relayed events


async def relayed(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    await anyio.sleep_forever()


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_no_keep_alive_comes_into_the_middle_of_a_relayed_event() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"data: on"
        await anyio.sleep(100)
        yield b"e\r\n\r\n"
        await anyio.sleep(20)
        yield b"data: two\r\n\r\n"

    with virtual_time():
        response = await fetch(SSEStreamingResponse(slow()))

    assert response.body == b"data: one\r\n\r\n: keep-alive\n\ndata: two\r\n\r\n"


async def test_no_error_comes_into_the_middle_of_a_relayed_event() -> None:
    for options in ({"error_frames": True}, {"error_item": in_openais_shape}):
        response = await get(SSEStreamingResponse(failing(b"data: half"), **options))
        assert response.body == b"data: half"
        assert not response.complete
        whole = await get(SSEStreamingResponse(failing(b"data: whole\n\n"), **options))
        assert b"error" in whole.body


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_silences_are_broken_by_an_item_of_ones_choice() -> None:
    count = iter(range(9))

    class Pings(SSEStreamingResponse[Any]):
        keep_alive_item = ServerSentEvent(event="ping", data="")

    class Counted(SSEStreamingResponse[Any]):
        def keep_alive_item(self) -> Any:  # type: ignore[override]
            return {"n": next(count)}

    async def ready() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep_forever()

    for make, expected in (
        (Pings, [b"event: ping\ndata: \n\n"] * 2),
        (Counted, [b'data: {"n":0}\n\n', b'data: {"n":1}\n\n']),
        (lambda c: SSEStreamingResponse(c, keep_alive_item="hm"), [b": hm\n\n"] * 2),
        (lambda c: SSEStreamingResponse(c, keep_alive_item=lambda: b":\n"), [b":\n"] * 2),
    ):
        with virtual_time():
            async with stream(make(ready())) as client:
                assert await anext(client) == b"data: a\n\n"
                assert [await anext(client) for _ in range(2)] == expected


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_no_blank_line_follows_a_keep_alive_once_an_id_was_sent() -> None:
    async def ready() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("a", id="7")
        await anyio.sleep_forever()

    with virtual_time():
        async with stream(SSEStreamingResponse(ready())) as client:
            assert [await anext(client) for _ in range(2)] == [
                b"id: 7\ndata: a\n\n",
                b": keep-alive\n",
            ]


# parts


async def test_parts_that_replace_have_a_length_by_choice() -> None:
    class Camera(MultipartStreamingResponse):
        part_media_type = "image/png"
        boundary = "b"

    head = b"\r\n--b\r\nContent-Type: image/png\r\n"
    assert (await get(Camera([b"png"], part_length=True))).body == (
        head + b"Content-Length: 3\r\n\r\npng\r\n--b--\r\n"
    )
    assert b"Content-Length" not in (await get(Camera([b"png"]))).body
    assert b"Content-Length" in (await get(Camera([b"png"], media_type="multipart/mixed"))).body
    part = MultipartPart(b"png", headers={"Content-Length": "3"})
    assert (await get(Camera([part]))).body == (head + b"Content-Length: 3\r\n\r\npng\r\n--b--\r\n")


class Text(str, Enum):  # noqa: UP042 - its str() is not its value
    TYPE = "multipart/mixed"
    BOUNDARY = "b"
    NAME = "f.bin"
    PART = "image/png"


async def test_an_option_of_another_kind_is_refused_with_what_to_pass() -> None:
    for dialect in ("excel-tab", csv.excel_tab, {"excel": True}, {"nope": 1}):
        with pytest.raises(
            TypeError, match=r"dialect must hold arguments of csv.writer \(delimiter"
        ):
            CSVStreamingResponse([], dialect=dialect)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="boundary must be a str, got bytes: b'frame'"):
        MultipartStreamingResponse([], boundary=b"frame")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a multipart boundary: RFC 2046"):
        MultipartStreamingResponse([], boundary="grä€nze")


async def test_events_of_a_response_of_httpx_are_passed_as_its_chunks() -> None:
    response = httpx.Response(200, content=b"data: a\n\n")
    with pytest.raises(TypeError, match=r"server-sent events, .*such as response\.aiter_bytes\(\)"):
        SSEStreamingResponse(response)  # type: ignore[arg-type]
    assert (await get(SSEStreamingResponse(response.aiter_bytes()))).body == b"data: a\n\n"


async def test_a_subclass_of_str_is_the_string_it_is_in_every_option() -> None:
    response = await get(
        MultipartStreamingResponse(
            [b"png"],
            media_type=Text.TYPE,
            boundary=Text.BOUNDARY,
            part_media_type=Text.PART,
            filename=Text.NAME,
        )
    )
    assert response.headers["content-type"] == "multipart/mixed; boundary=b"
    assert response.headers["content-disposition"] == 'attachment; filename="f.bin"'
    assert b"\r\n--b\r\nContent-Type: image/png\r\n" in response.body


# through FastAPI


async def test_a_control_character_in_a_filename_is_no_500() -> None:
    app = FastAPI()

    @app.get("/")
    def export() -> Any:
        return CSVStreamingResponse([[1]], filename="a\r\nb\u202efdp.exe")

    response = await fetch(app)
    assert response.status == 200
    assert response.headers["content-disposition"] == 'attachment; filename="a__b_fdp.exe"'
