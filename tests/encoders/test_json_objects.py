"""What acts as a mapping or a row is a JSON object in every format; `default` does for the rest."""

from __future__ import annotations

import json
from collections import ChainMap, OrderedDict, UserDict
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest
from pydantic import BaseModel

from streamkit.encoders.jsonarray import JSONArrayEncoder
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.encoders.sse import ServerSentEvent, SSEEncoder

from .test_csv_rows import KINDS, Record, sqlite_row


class Pair(NamedTuple):
    x: int
    y: str


class Item(BaseModel):
    x: int
    y: str


@dataclass
class Holder:
    value: Any


def lines(item: Any, **options: Any) -> bytes:
    return JSONLinesEncoder(**options).encode(item).removesuffix(b"\n")


def array(item: Any, **options: Any) -> bytes:
    return JSONArrayEncoder(**options).encode(item).removeprefix(b"[")


def data(item: Any, **options: Any) -> bytes:
    return SSEEncoder(**options).encode(item).removeprefix(b"data: ").removesuffix(b"\n\n")


def event(item: Any, **options: Any) -> bytes:
    return data(ServerSentEvent(item), **options)


FORMATS = [lines, array, data, event]
every_format = pytest.mark.parametrize("write", FORMATS)

OBJECTS: list[Any] = [
    *[(partial(make, ("x", 1), ("y", "a")), make.__name__) for make in KINDS],
    (lambda: MappingProxyType({"x": 1, "y": "a"}), "proxy"),
    (lambda: UserDict({"x": 1, "y": "a"}), "UserDict"),
    (lambda: ChainMap({"x": 1}, {"y": "a"}), "ChainMap"),
    (lambda: OrderedDict(x=1, y="a"), "OrderedDict"),
    (lambda: Pair(1, "a"), "named tuple"),
]
# Inside an item each is an array, as every serialiser writes a tuple or list.
ARRAYS = ("named tuple", "DictRow")
every_object = pytest.mark.parametrize(
    "make", [make for make, _ in OBJECTS], ids=[n for _, n in OBJECTS]
)


@every_format
@every_object
@pytest.mark.parametrize("dumps", [None, json.dumps, orjson.dumps, msgspec.json.encode])
def test_a_row_or_mapping_is_an_object(write: Any, make: Any, dumps: Any) -> None:
    assert json.loads(write(make(), dumps=dumps)) == {"x": 1, "y": "a"}


@every_format
@every_object
def test_a_row_or_mapping_is_validated_as_a_model(write: Any, make: Any) -> None:
    assert write(make(), adapter=Item) == b'{"x":1,"y":"a"}'


@pytest.mark.parametrize("make", [make for make, name in OBJECTS if name not in ARRAYS])
@pytest.mark.parametrize("dumps", [None, json.dumps, orjson.dumps])
def test_a_row_or_mapping_inside_an_item_is_an_object(make: Any, dumps: Any) -> None:
    expected = {"x": 1, "y": "a"}
    found = json.loads(lines({"deep": [make(), {"er": make()}]}, dumps=dumps))
    assert found == {"deep": [expected, {"er": expected}]}
    if dumps is not json.dumps:
        assert json.loads(lines(Holder(make()), dumps=dumps)) == {"value": expected}


def test_a_named_tuple_inside_an_item_is_an_array() -> None:
    assert lines([Pair(1, "a")]) == b'[[1,"a"]]'
    assert lines([Pair(1, "a"), UserDict()], dumps=json.dumps) == b'[[1, "a"], {}]'


def test_a_type_of_tuples_is_serialised_by_its_adapter() -> None:
    assert lines(Pair(1, "a"), adapter=Pair) == b'[1,"a"]'


def test_a_column_of_any_name_is_a_member() -> None:
    row = sqlite_row(("keys", 1), ("a.b", 2), ("", 3))
    assert json.loads(lines(row)) == {"keys": 1, "a.b": 2, "": 3}


@every_format
def test_two_cells_of_one_name_are_refused(write: Any) -> None:
    with pytest.raises(ValueError, match="2 cells named 'a'; name them apart"):
        write(sqlite_row(("a", 1), ("a", 2)))
    with pytest.raises(ValueError, match="2 cells named 'a'"):
        write({"row": Record(("a", 1), ("a", 2))})


# default


class ObjectId:
    def __init__(self, value: str) -> None:
        self.value = value


@every_format
def test_default_does_for_other_types(write: Any) -> None:
    found = write(
        {"id": ObjectId("7f"), "row": UserDict(a=ObjectId("8"))}, default=lambda o: o.value
    )
    assert found == b'{"id":"7f","row":{"a":"8"}}'


@every_format
def test_default_is_called_with_nan_refused_and_a_type(write: Any) -> None:
    options: dict[str, Any] = {"default": lambda o: [o.value], "nan": "error"}
    assert write([ObjectId("7")], **options) == b'[["7"]]'
    assert write([ObjectId("7")], adapter=list[Any], **options) == b'[["7"]]'


def test_default_takes_numpys_scalars() -> None:
    numpy = pytest.importorskip("numpy")
    row = {"i": numpy.int64(3), "f": numpy.float32(0.5), "b": numpy.bool_(True)}
    assert lines(row, default=lambda value: value.item()) == b'{"i":3,"f":0.5,"b":true}'
    assert lines(numpy.array([1, 2]), default=lambda value: value.tolist()) == b"[1,2]"
    with pytest.raises(TypeError, match="pass default= or a dumps"):
        lines(row)


def test_an_error_of_default_is_told() -> None:
    def default(value: object) -> object:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match=r"an item of type dict cannot be sent .*no such thing"):
        lines({"a": object()}, default=default)


@pytest.mark.parametrize("kind", [JSONLinesEncoder, JSONArrayEncoder, SSEEncoder])
def test_a_dumps_has_a_default_of_its_own(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"partial\(json.dumps, default=...\)"):
        kind(json.dumps, default=str)
    assert lines(Decimal(1), dumps=partial(json.dumps, default=str)) == b'"1"'


# NaT


def missing() -> list[Any]:
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    return [pandas.NaT, pandas.NA, numpy.datetime64("NaT"), numpy.timedelta64("NaT")]


@every_format
def test_a_missing_time_is_null_as_nan_is(write: Any) -> None:
    for value in missing():
        assert write({"a": value, "b": [value]}) == b'{"a":null,"b":[null]}'
        assert write({"a": (value,), "b": Record(("c", value))}) == b'{"a":[null],"b":{"c":null}}'
        with pytest.raises(ValueError, match=r"JSON has no (NaT|<NA>); send None, or choose nan="):
            write({"a": value}, nan="error")


@pytest.mark.parametrize("dumps", [json.dumps, orjson.dumps])
def test_a_missing_time_is_null_with_other_serialisers(dumps: Any) -> None:
    for value in missing():
        assert json.loads(lines({"a": value}, dumps=dumps)) == {"a": None}


def test_rows_of_a_frame_are_objects() -> None:
    pandas = pytest.importorskip("pandas")
    times = pandas.to_datetime(["2024-01-02", None])
    frame = pandas.DataFrame({"t": times, "x": [1.5, float("nan")]})
    expected = [b'{"t":"2024-01-02T00:00:00","x":1.5}', b'{"t":null,"x":null}']
    assert [lines(row) for row in frame.to_dict("records")] == expected
    assert [lines(row) for row in frame.itertuples(index=False)] == expected


def test_a_value_that_needs_a_second_try_has_no_iterator_used_up() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="an item of type dict cannot be sent"):
        lines({"a": pandas.NaT, "b": iter([1])})


# str subclasses


class Kind(str, Enum):  # noqa: UP042 - its str() is not its value
    TOKEN = "token"


class Loud(str):
    def __str__(self) -> str:
        return "\n\ndata: injected"

    def __format__(self, spec: str) -> str:
        return "\n\ndata: injected"

    def __contains__(self, part: Any) -> bool:
        return False

    def replace(self, *arguments: Any) -> Any:
        return "replaced\n\n"

    def encode(self, *arguments: Any) -> Any:
        return b"encoded\n\n"


@every_format
@pytest.mark.parametrize("text", [Kind.TOKEN, Loud("token")])
def test_a_subclass_of_str_is_the_string_it_is(write: Any, text: str) -> None:
    assert json.loads(write([text, {text: text}])) == ["token", {"token": "token"}]
    for found in (lines(text), array(text)):
        assert found == b'"token"'


@pytest.mark.parametrize("text", [Kind.TOKEN, Loud("token")])
def test_a_subclass_of_str_is_the_string_it_is_in_every_field(text: str) -> None:
    encoder = SSEEncoder()
    expected = b": token\nevent: token\nid: token\ndata: token\n\n"
    assert encoder.encode(ServerSentEvent(text, event=text, id=text, comment=text)) == expected
    assert encoder.encode(text) == b"data: token\n\n"
    # What was written for the one is not remembered for the other.
    assert encoder.encode(ServerSentEvent("a", event=text)) == b"event: token\ndata: a\n\n"
    assert encoder.encode(ServerSentEvent("a", event="token")) == b"event: token\ndata: a\n\n"


def test_a_subclass_of_str_cannot_hide_a_line_break() -> None:
    for field in ("event", "id"):
        with pytest.raises(ValueError, match="must be one line"):
            ServerSentEvent("a", **{field: Loud("a\nb")})  # type: ignore[arg-type]
    encoder = SSEEncoder()
    assert encoder.encode(Loud("a\nb")) == b"data: a\ndata: b\n\n"
    assert encoder.encode(ServerSentEvent(Loud("a\nb"))) == b"data: a\ndata: b\n\n"
    assert encoder.encode(ServerSentEvent(comment=Loud("a\nb"))) == b": a\n: b\n\n"


def test_fastapis_event_takes_a_subclass_of_str_as_the_string_it_is() -> None:
    fastapi_sse = pytest.importorskip("fastapi.sse")
    item = fastapi_sse.ServerSentEvent(data="x", event=Kind.TOKEN, id=Kind.TOKEN)
    assert SSEEncoder().encode(item) == b'event: token\nid: token\ndata: "x"\n\n'
