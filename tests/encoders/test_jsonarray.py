from __future__ import annotations

import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.encoders import Encoder, jsonarray
from streamkit.encoders.jsonarray import JSONArrayEncoder

from .test_jsonlines import json_values


def test_its_examples_run() -> None:
    assert doctest.testmod(jsonarray).failed == 0


def test_it_is_an_encoder() -> None:
    assert isinstance(JSONArrayEncoder(), Encoder)


@given(st.lists(json_values))
def test_a_whole_body_is_one_json_array_at_every_size(items: list[object]) -> None:
    array = JSONArrayEncoder()
    body = b"".join([array.encode(item) for item in items]) + array.finish()
    assert json.loads(body) == items


@pytest.mark.parametrize(
    ("items", "body"), [([], b"[]"), ([1], b"[1]"), ([1, [], {}], b"[1,[],{}]")]
)
def test_nothing_but_commas_stands_between_elements(items: list[object], body: bytes) -> None:
    array = JSONArrayEncoder()
    assert b"".join([array.encode(item) for item in items]) + array.finish() == body


@given(st.lists(json_values))
def test_a_body_without_its_end_is_never_valid_json(items: list[object]) -> None:
    array = JSONArrayEncoder()
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join([array.encode(item) for item in items]))


def test_a_refused_item_leaves_the_array_as_it_was() -> None:
    array = JSONArrayEncoder()
    with pytest.raises(TypeError):
        array.encode(object())
    assert array.encode(1) + array.finish() == b"[1]"


def test_dumps_adapter_and_nan_are_those_of_json_lines() -> None:
    assert JSONArrayEncoder(json.dumps).encode([1, 2]) == b"[[1, 2]"
    assert JSONArrayEncoder(adapter=int).encode("7") == b"[7"
    with pytest.raises(ValueError, match="JSON has no NaN"):
        JSONArrayEncoder(nan="error").encode(float("nan"))


def test_there_is_no_error_frame_inside_an_array() -> None:
    assert not hasattr(JSONArrayEncoder(), "error")
