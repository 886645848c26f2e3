from __future__ import annotations

import doctest
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamkit.encoders import Encoder, jsonlines
from streamkit.encoders.jsonlines import JSONLinesEncoder, json_serialiser

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    label: str = "p"


class Item(BaseModel):
    id: int
    full_name: str = Field(default="n", alias="fullName")


class ConstantsModel(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    x: float


class NullModel(BaseModel):
    x: float


def body(items: Iterable[object], **options: Any) -> bytes:
    encoder = JSONLinesEncoder(**options)
    return b"".join([encoder.encode(item) for item in items]) + encoder.finish()


def test_its_examples_run() -> None:
    assert doctest.testmod(jsonlines).failed == 0


def test_it_is_an_encoder() -> None:
    assert isinstance(JSONLinesEncoder(), Encoder)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}\n'),
        ("ö€😀", '"ö€😀"\n'.encode()),
        (Point(1.5), b'{"x":1.5,"label":"p"}\n'),
        (Item(id=1, fullName="N"), b'{"id":1,"fullName":"N"}\n'),
        (datetime(2024, 1, 2, tzinfo=UTC), b'"2024-01-02T00:00:00Z"\n'),
        (UUID(int=7), b'"00000000-0000-0000-0000-000000000007"\n'),
        (Decimal("1.10"), b'"1.10"\n'),
        (Color.RED, b'"red"\n'),
        ({1: "a", (2, 3): "b"}, b'{"1":"a","2,3":"b"}\n'),
        (b"text", b'"text"\n'),
        ("\x00\x0b\x0c\x1c\x1d\x1e\x1f", b'"\\u0000\\u000b\\f\\u001c\\u001d\\u001e\\u001f"\n'),
        ("\u2028 \u2029 \x85", b'"\\u2028 \\u2029 \\u0085"\n'),
        ("\u2027 \u202a \x84 \x86 \xc2\xe2", '"\u2027 \u202a \x84 \x86 \xc2\xe2"\n'.encode()),
        ('NaN, -Infinity "NaN" \\', b'"NaN, -Infinity \\"NaN\\" \\\\"\n'),
    ],
)
def test_an_item_becomes_the_line_that_pydantic_would_write(item: object, line: bytes) -> None:
    assert body([item]) == line


@given(st.lists(json_values))
def test_the_standard_library_reads_back_every_item(items: list[object]) -> None:
    written = body(items)
    assert [json.loads(line) for line in written.split(b"\n")[:-1]] == items


@given(st.lists(json_values))
def test_httpx_iter_lines_sees_one_line_for_each_item(items: list[object]) -> None:
    def cut(written: bytes) -> Iterator[bytes]:
        for start in range(0, len(written), 3):
            yield written[start : start + 3]

    response = httpx.Response(200, content=cut(body(items)))
    assert [json.loads(line) for line in response.iter_lines()] == items


@given(st.lists(json_values))
def test_lines_survive_readers_that_split_on_any_unicode_line_break(items: list[object]) -> None:
    lines = body(items).decode().splitlines()
    assert [json.loads(line) for line in lines] == items


rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**53), 2**53),
            "name": st.text(min_size=1).map(lambda text: "t" + text),
        }
    ),
    min_size=1,
)


@given(rows)
def test_pandas_reads_back_every_row(items: list[dict[str, object]]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_json(io.BytesIO(body(items)), lines=True, dtype=False)
    assert frame.to_dict("records") == items


@given(rows)
def test_pyarrow_reads_back_every_row(items: list[dict[str, object]]) -> None:
    arrow_json = pytest.importorskip("pyarrow.json")
    assert arrow_json.read_json(io.BytesIO(body(items))).to_pylist() == items


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "wrap",
    [lambda x: x, lambda x: {"NaN": [x, "NaN"]}, Point],
    ids=["alone", "within", "model"],
)
@pytest.mark.parametrize("dumps", [None, json.dumps], ids=["pydantic", "json"])
def test_nan_and_infinities_become_null(value: float, wrap: Any, dumps: Any) -> None:
    item = wrap(value)
    if dumps is not None and isinstance(item, Point):
        item = vars(item)
    text = body([item], dumps=dumps).decode()
    (line,) = text.splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found in (None, {"NaN": [None, "NaN"]}, {"x": None, "label": "p"})


def test_a_model_that_asks_for_constants_still_gives_valid_json() -> None:
    assert body([ConstantsModel(x=math.inf)]) == b'{"x":null}\n'


@pytest.mark.parametrize(
    "item",
    [math.nan, [1, math.inf], NullModel(x=math.nan), ConstantsModel(x=-math.inf), Point(math.nan)],
    ids=repr,
)
def test_nan_is_an_error_by_choice(item: object) -> None:
    encoder = JSONLinesEncoder(nan="error")
    assert encoder.encode({"x": None, "y": "NaN"}) == b'{"x":null,"y":"NaN"}\n'
    with pytest.raises(ValueError, match=f"an item of type {type(item).__name__} cannot be sent"):
        encoder.encode(item)


def test_nan_is_an_error_by_choice_for_an_adapter_and_a_dumps_too() -> None:
    with pytest.raises(ValueError, match="type float"):
        JSONLinesEncoder(adapter=float, nan="error").encode(math.nan)
    with pytest.raises(ValueError, match="JSON has no NaN; send None"):
        JSONLinesEncoder(json.dumps, nan="error").encode(math.nan)


def test_an_unknown_choice_for_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="nan must be 'null' or 'error', got 'drop'"):
        JSONLinesEncoder(nan="drop")  # type: ignore[arg-type]


@dataclass
class Holder:
    text: str
    when: datetime = datetime(2024, 1, 2, tzinfo=UTC)
    by_id: dict[UUID, Decimal] = field(default_factory=lambda: {UUID(int=1): Decimal("2.5")})


class Nested(BaseModel):
    holder: Holder
    raw: bytes = b"ok"


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ("\ud800", "\ud800"),
        ({"a": ["\udfff", math.nan, "NaN"]}, {"a": ["\udfff", None, "NaN"]}),
        ({"\ud800": {"\udc00"}, "n": math.nan}, {"\ud800": ["\udc00"], "n": None}),
        (
            [Holder("\ud800\u2028"), UUID(int=1), Decimal("1.0"), b"ok", Color.RED],
            [
                {
                    "text": "\ud800\u2028",
                    "when": "2024-01-02T00:00:00Z",
                    "by_id": {str(UUID(int=1)): "2.5"},
                },
                str(UUID(int=1)),
                "1.0",
                "ok",
                "red",
            ],
        ),
        (
            {"nested": Nested.model_construct(holder=Holder("\udabc"))},
            {
                "nested": {
                    "holder": {
                        "text": "\udabc",
                        "when": "2024-01-02T00:00:00Z",
                        "by_id": {str(UUID(int=1)): "2.5"},
                    },
                    "raw": "ok",
                }
            },
        ),
    ],
    ids=["text", "list", "key", "objects", "models"],
)
def test_a_lone_surrogate_is_escaped(item: object, found: object) -> None:
    written = body([item])
    assert written.isascii()
    assert json.loads(written) == found


@pytest.mark.parametrize("package", ["orjson", "msgspec.json"])
def test_any_dumps_serves_and_a_lone_surrogate_does_not_stop_it(package: str) -> None:
    module = pytest.importorskip(package)
    dumps = module.dumps if package == "orjson" else module.encode
    items = [{"a": "\u2028ö", "x": math.nan}, "\ud800", 1]
    lines = body(items, dumps=dumps).splitlines()
    assert lines == [b'{"a":"\\u2028\xc3\xb6","x":null}', b'"\\ud800"', b"1"]


def test_a_dumps_may_return_text_even_with_a_lone_surrogate() -> None:
    def dumps(item: object) -> str:
        return json.dumps(item, ensure_ascii=False)

    assert body(["ö\u2029\ud800"], dumps=dumps) == '"ö\\u2029\\ud800"\n'.encode()


def test_a_dumps_may_end_its_text_with_a_line_feed() -> None:
    assert body([1, 2], dumps=lambda item: f"{item}\n") == b"1\n2\n"


def test_a_dumps_that_indents_is_an_error() -> None:
    with pytest.raises(ValueError, match="more than one line; have it write no indentation"):
        body([{"a": 1}], dumps=lambda item: json.dumps(item, indent=2))


def test_a_dumps_that_returns_something_else_is_an_error() -> None:
    with pytest.raises(TypeError, match="dumps must return bytes or str, got int"):
        body([{"a": 1}], dumps=lambda item: 5)


@pytest.mark.parametrize(
    ("item", "error", "reason"),
    [
        (object(), TypeError, "Unable to serialize unknown type"),
        ({"a": memoryview(b"")}, TypeError, "Unable to serialize unknown type"),
        (b"\xff", ValueError, "invalid utf-8"),
        ({"\ud800": object()}, TypeError, "Unable to serialize unknown type"),
    ],
)
def test_an_item_that_cannot_be_json_is_named_in_the_error(
    item: object, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        body([item])
    assert f"an item of type {type(item).__name__} cannot be sent as JSON" in str(caught.value)
    assert "pass default= or a dumps that can serialise it" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("nan", ["null", "error"])
def test_an_iterator_that_fails_is_not_read_again_as_if_it_were_empty(nan: Any) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("the database went away")

    assert body([{"rows": iter([1, 2])}], nan=nan) == b'{"rows":[1,2]}\n'
    with pytest.raises(ValueError, match="the database went away"):
        body([{"rows": numbers()}], nan=nan)


@pytest.mark.parametrize("wrap", [list, tuple, lambda parts: {"a": list(parts)}])
def test_a_lone_surrogate_beside_an_iterator_is_an_error_and_never_half_an_item(wrap: Any) -> None:
    with pytest.raises(ValueError, match="an iterator, now used up; send a list"):
        body([wrap(["a", iter(["\ud800"])])])


def test_a_stream_goes_on_after_an_item_that_was_refused() -> None:
    encoder = JSONLinesEncoder()
    with pytest.raises(TypeError):
        encoder.encode(object())
    assert encoder.encode(1) == b"1\n"


@pytest.mark.parametrize("adapter", [Item, TypeAdapter(Item)], ids=["type", "adapter"])
def test_an_adapter_validates_and_serialises_by_alias(adapter: object) -> None:
    class Record:
        id = 2
        fullName = "r"  # noqa: N815 - the alias

    items = [{"id": "1"}, Record(), Item(id=3, fullName="\ud800")]
    assert body(items, adapter=adapter).splitlines() == [
        b'{"id":1,"fullName":"n"}',
        b'{"id":2,"fullName":"r"}',
        b'{"id":3,"fullName":"\\ud800"}',
    ]


def test_an_adapter_may_be_any_annotation_and_work_with_a_dumps() -> None:
    def dumps(item: object) -> str:
        return json.dumps(item)

    assert body([["1"]], adapter=list[int] | None) == b"[1]\n"
    assert body([["1"]], adapter=list[float], dumps=dumps) == b"[1.0]\n"


def test_what_an_adapter_refuses_stays_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="id"):
        body([{"id": "x"}], adapter=Item)


def test_the_error_frame_is_a_line_of_its_own() -> None:
    encoder = JSONLinesEncoder()
    assert encoder.error("ValueError", "bad \u2028") == (
        b'{"error":{"type":"ValueError","message":"bad \\u2028","detail":"bad \\u2028"}}\n'
    )
    assert encoder.error("KeyError", None) == (
        b'{"error":{"type":"KeyError","message":"KeyError","detail":null}}\n'
    )


def test_an_empty_stream_is_empty_and_a_large_item_whole() -> None:
    assert body([]) == b""
    assert body(["x" * 5_000_000]) == b'"' + b"x" * 5_000_000 + b'"\n'


def test_end_follows_every_text() -> None:
    serialise = json_serialiser(end=b";")
    assert [serialise(1), serialise("N"), serialise("\ud800")] == [b"1;", b'"N";', b'"\\ud800";']
