from __future__ import annotations

import array
import csv
import gc
import io
import random
import tarfile
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    StreamingResponse,
    StreamStopped,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    stream_limiter,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio


class Broken(Exception):
    pass


async def collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.001)


# iterate_in_threadpool


class Countdown:
    """Has an iterator that is no iterable itself, as `__iter__` alone may give."""

    class Iterator:
        left = 3

        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    def __iter__(self) -> Any:
        return self.Iterator()


class Indexed:
    def __getitem__(self, index: int) -> int:
        return [5, 6, 7][index]


@pytest.mark.parametrize(
    ("iterable", "items"),
    [
        ([1, 2, 3], [1, 2, 3]),
        (iter([1, 2, 3]), [1, 2, 3]),
        ((n for n in range(3)), [0, 1, 2]),
        (range(10_000), list(range(10_000))),
        ("abc", ["a", "b", "c"]),
        ({"a": 1}, ["a"]),
        (Countdown(), [2, 1, 0]),
        (Indexed(), [5, 6, 7]),
        ([], []),
        ([None, False], [None, False]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_iterate_in_threadpool_gives_the_items_of_any_iterable(
    iterable: Any, items: list[Any]
) -> None:
    if isinstance(iterable, Iterator):
        # One test a backend shares the parameter, which flows once.
        iterable = iter(items)
    assert await collect(iterate_in_threadpool(iterable)) == items


@pytest.mark.parametrize("options", [{}, {"thread_affine": True}, {"max_buffer": 1}], ids=str)
async def test_the_iterable_runs_and_is_closed_on_worker_threads(options: Any) -> None:
    threads = set()

    def generate() -> Iterator[int]:
        try:
            for number in range(5):
                threads.add(threading.get_ident())
                yield number
        finally:
            threads.add(threading.get_ident())

    assert await collect(iterate_in_threadpool(generate(), **options)) == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in threads
    if "thread_affine" in options:
        assert len(threads) == 1


async def test_an_exception_comes_after_the_items_before_it() -> None:
    def generate() -> Iterator[int]:
        yield from (1, 2)
        raise Broken

    received = []
    with pytest.raises(Broken):  # noqa: PT012
        async for item in iterate_in_threadpool(generate()):
            received.append(item)
    assert received == [1, 2]


async def test_an_exception_in_close_is_raised_at_the_end() -> None:
    class Content:
        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            raise Broken

    items = iterate_in_threadpool(Content())
    assert await anext(items) == 1
    with pytest.raises(Broken):
        await anext(items)


async def test_iterator_and_iterable_are_closed_each_once_though_one_close_raises() -> None:
    closed = []

    class Content:
        def __iter__(self) -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append("iterator")
                raise Broken

        def close(self) -> None:
            closed.append("iterable")

    items = iterate_in_threadpool(Content(), max_buffer=1)
    assert await anext(items) == 1
    await items.aclose()
    assert closed == ["iterator", "iterable"]
    assert isinstance(items.error, Broken)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_a_stop_iteration_from_within_is_no_clean_end(error: type[Exception]) -> None:
    class Content:
        def __iter__(self) -> Iterator[int]:
            raise error

    with pytest.raises((RuntimeError, StopIteration)):
        await collect(iterate_in_threadpool(Content()))


async def test_aclose_after_an_early_break_closes_the_iterable() -> None:
    closed = threading.Event()

    def generate() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = iterate_in_threadpool(generate(), max_buffer=100)
    async for _ in items:
        break
    await items.aclose()
    assert closed.is_set()
    await items.aclose()


async def test_a_loop_that_was_left_can_be_gone_on_with() -> None:
    items = iterate_in_threadpool(range(5), max_buffer=1)
    async for item in items:
        if item == 1:
            break
    assert await collect(items) == [2, 3, 4]


async def test_aclose_of_a_stream_that_never_started_closes_the_iterable() -> None:
    class Content:
        thread = 0

        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            self.thread = threading.get_ident()

    content = Content()
    items = iterate_in_threadpool(content)
    await items.aclose()
    assert content.thread not in (0, threading.get_ident())
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_aclose_waits_for_the_item_at_hand() -> None:
    events = []
    at_work = anyio.Event()

    def generate() -> Iterator[int]:
        try:
            yield 1
            anyio.from_thread.run_sync(at_work.set)
            time.sleep(0.03)
            events.append("item made")
            yield 2
        finally:
            events.append("closed")

    items = iterate_in_threadpool(generate())
    assert await anext(items) == 1
    await at_work.wait()
    await items.aclose()
    assert events == ["item made", "closed"]


async def test_with_a_buffer_of_one_the_iterable_is_one_item_ahead() -> None:
    produced = 0

    def generate() -> Iterator[int]:
        nonlocal produced
        for number in range(20):
            produced += 1
            yield number

    async for number in iterate_in_threadpool(generate(), max_buffer=1):
        await anyio.sleep(0.001)
        assert produced <= number + 2


async def test_items_run_on_the_threads_of_a_limiter_that_was_given() -> None:
    limiter = anyio.CapacityLimiter(1)
    gate = threading.Event()

    def generate() -> Iterator[int]:
        yield 1
        assert gate.wait(5)

    items = iterate_in_threadpool(generate(), limiter=limiter)
    assert await anext(items) == 1
    assert limiter.borrowed_tokens == 1
    assert stream_limiter().borrowed_tokens == 0
    gate.set()
    assert await collect(items) == []
    await until(lambda: limiter.borrowed_tokens == 0)


async def test_two_streams_take_turns_on_the_one_thread_of_a_limiter() -> None:
    limiter = anyio.CapacityLimiter(1)
    order = []

    def generate(name: str) -> Iterator[str]:
        for _ in range(3):
            time.sleep(0.012)
            order.append(name)
            yield name

    async with anyio.create_task_group() as group:
        for name in "ab":
            group.start_soon(collect, iterate_in_threadpool(generate(name), limiter=limiter))
    assert "".join(order) not in ("aaabbb", "bbbaaa")


class NoThreads(anyio.CapacityLimiter):
    """A limiter under which no thread can be had."""

    def __new__(cls) -> NoThreads:
        return object.__new__(cls)

    def __init__(self) -> None:
        pass

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        raise anyio.WouldBlock

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        raise Broken

    async def __aenter__(self) -> None:
        raise Broken

    async def __aexit__(self, *exc_info: object) -> None:
        raise AssertionError


async def test_where_no_thread_can_be_had_the_content_is_closed_and_the_reason_raised() -> None:
    closed = []

    class Content:
        def __iter__(self) -> Iterator[int]:
            raise AssertionError

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(Broken):
        await collect(iterate_in_threadpool(Content(), limiter=NoThreads()))
    assert closed == [True]


@pytest.mark.parametrize("iterable", [None, 5, object()], ids=["None", "number", "object"])
async def test_what_is_no_iterable_is_refused_at_once(iterable: Any) -> None:
    with pytest.raises(TypeError, match=type(iterable).__name__):
        iterate_in_threadpool(iterable)


async def test_an_async_iterable_is_refused_with_a_hint() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="async for"):
        iterate_in_threadpool(generate())  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, 1.5, "1", None])
async def test_a_buffer_without_room_is_refused(size: Any) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    for make in (
        lambda: iterate_in_threadpool([], max_buffer=size),
        lambda: iterate_writes(print, max_buffer=size),
        lambda: iterate_from_thread(nothing(), max_buffer=size),
    ):
        with pytest.raises((TypeError, ValueError), match="max_buffer must be a"):
            make()


# iterate_from_thread


async def numbers(count: int, log: list[Any] | None = None) -> AsyncIterator[int]:
    try:
        for number in range(count):
            if number % 7 == 3:
                await checkpoint()
            yield number
    finally:
        await anyio.sleep(0.001)
        if log is not None:
            log.append(threading.get_ident())


@pytest.mark.parametrize("max_buffer", [1, 200, 65536])
async def test_a_worker_thread_iterates_over_an_async_iterable(max_buffer: int) -> None:
    closed: list[int] = []

    def work() -> list[int]:
        return list(iterate_from_thread(numbers(1000, closed), max_buffer=max_buffer))

    assert await anyio.to_thread.run_sync(work) == list(range(1000))
    assert closed == [threading.get_ident()]


@pytest.mark.parametrize("max_buffer", [1, 1000])
async def test_a_worker_thread_iterates_over_a_stream_of_another_thread(max_buffer: int) -> None:
    def work() -> list[int]:
        items = iterate_in_threadpool(range(2000))
        return list(iterate_from_thread(items, max_buffer=max_buffer))

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work) == list(range(2000))


async def test_a_slow_worker_thread_wakes_a_stream_that_gave_its_thread_back() -> None:
    def work() -> list[int]:
        received = []
        for item in iterate_from_thread(iterate_in_threadpool(range(20)), max_buffer=1):
            received.append(item)
            time.sleep(0.004)
        return received

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work, abandon_on_cancel=True) == list(range(20))


async def test_a_worker_thread_reads_what_another_one_writes() -> None:
    def write(file: Any) -> None:
        for _ in range(1000):
            file.write(b"x" * 100)

    def work() -> int:
        return sum(map(len, iterate_from_thread(iterate_writes(write), max_buffer=500)))

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work) == 100_000


async def test_a_sync_generator_that_streams_iterates_over_an_async_iterable() -> None:
    def generate() -> Iterator[str]:
        for number in iterate_from_thread(numbers(100)):
            yield f"{number} "

    response = await fetch(StreamingResponse(generate()))
    assert response.body.split() == [b"%d" % n for n in range(100)]


async def test_a_disconnect_closes_what_a_sync_generator_iterates_over() -> None:
    closed: list[int] = []

    def generate() -> Iterator[bytes]:
        for _ in iterate_from_thread(numbers(10**9, closed)):
            yield b"x" * 1000

    async with stream(StreamingResponse(generate(), max_buffer=2000)) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert closed == [threading.get_ident()]


async def test_a_context_manager_closes_the_async_iterable_when_it_is_left() -> None:
    closed: list[int] = []

    def work() -> None:
        with iterate_from_thread(numbers(10**9, closed)) as items:
            assert next(items) == 0
        assert closed
        with pytest.raises(StopIteration):
            next(items)
        items.close()

    await anyio.to_thread.run_sync(work)
    assert closed == [threading.get_ident()]


async def test_close_frees_an_async_iterable_that_is_idle() -> None:
    closed = []

    async def idle() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    def work() -> None:
        items = iterate_from_thread(idle())
        assert next(items) == 1
        items.close()

    with anyio.fail_after(5):
        await anyio.to_thread.run_sync(work)
    assert closed == [True]


async def test_close_before_the_first_item_closes_the_async_iterable() -> None:
    class Content:
        closed = 0

        def __aiter__(self) -> AsyncIterator[int]:
            raise AssertionError

        async def aclose(self) -> None:
            self.closed += 1

    content = Content()
    await anyio.to_thread.run_sync(lambda: iterate_from_thread(content).close())
    assert content.closed == 1


async def test_one_that_is_dropped_closes_the_async_iterable() -> None:
    closed: list[int] = []

    def work() -> None:
        next(iterate_from_thread(numbers(10**9, closed)))
        gc.collect()

    await anyio.to_thread.run_sync(work)
    await until(lambda: closed)
    assert closed == [threading.get_ident()]


async def test_one_that_is_dropped_on_the_loop_stops_the_async_iterable() -> None:
    closed: list[int] = []
    held = [iterate_from_thread(numbers(10**9, closed))]
    await anyio.to_thread.run_sync(lambda: next(held[0]))
    held.clear()
    gc.collect()
    await until(lambda: closed)


async def test_an_exception_of_an_async_iterable_reaches_the_thread() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1
        raise Broken

    def work() -> list[int]:
        received = []
        with pytest.raises(Broken):  # noqa: PT012
            for item in iterate_from_thread(generate()):
                received.append(item)
        return received

    assert await anyio.to_thread.run_sync(work) == [1]


async def test_a_slow_thread_holds_the_async_iterable_back() -> None:
    produced = 0

    async def generate() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(100):
            produced += 1
            yield b"x" * 99

    def work() -> int:
        items = iterate_from_thread(generate(), max_buffer=1000)
        next(items)
        time.sleep(0.03)
        seen = produced
        items.close()
        return seen

    assert 8 <= await anyio.to_thread.run_sync(work) <= 22


async def test_iterate_from_thread_says_where_it_works() -> None:
    with pytest.raises(RuntimeError, match="worker thread"):
        next(iterate_from_thread(numbers(1)))
    with pytest.raises(TypeError, match="async iterable, got list"):
        iterate_from_thread([1])  # type: ignore[arg-type]


# iterate_writes


async def whole(write: Callable[[Any], object], **options: Any) -> bytes:
    return b"".join(await collect(iterate_writes(write, **options)))


async def test_a_zip_streams_as_it_is_written() -> None:
    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(20):
                archive.writestr(f"{number}.txt", f"{number}\n" * 1000)

    with zipfile.ZipFile(io.BytesIO(await whole(write, max_buffer=100))) as archive:
        assert archive.testzip() is None
        assert archive.read("7.txt") == b"7\n" * 1000


async def test_a_tar_streams_as_it_is_written() -> None:
    def write(file: Any) -> None:
        with tarfile.open(fileobj=file, mode="w|gz") as archive:
            info = tarfile.TarInfo("hello.txt")
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))

    with tarfile.open(fileobj=io.BytesIO(await whole(write))) as archive:
        member = archive.extractfile("hello.txt")
        assert member is not None
        assert member.read() == b"hello"


async def test_a_csv_writer_may_write_str() -> None:
    def write(file: Any) -> None:
        csv.writer(file).writerows([["name", "age"], ["Zoë", 36]])

    assert await whole(write) == "name,age\r\nZoë,36\r\n".encode()


async def test_a_text_wrapper_gives_other_encodings() -> None:
    def write(file: Any) -> None:
        with io.TextIOWrapper(io.BufferedWriter(file), "latin-1") as text:
            text.write("Zoë")

    assert await whole(write) == b"Zo\xeb"


async def test_the_file_counts_and_copies_what_is_written() -> None:
    def write(file: Any) -> None:
        buffer = bytearray(b"ab")
        assert file.writable()
        assert file.mode == "wb"
        assert not file.seekable()
        assert file.write(buffer) == 2
        buffer[:] = b"xx"
        assert file.write(memoryview(b"cdef")[::2]) == 2
        assert file.write(array.array("H", [0x6767])) == 2
        assert file.write("é") == 1
        assert file.tell() == 8
        file.close()
        with pytest.raises(ValueError, match="closed file"):
            file.write(b"late")

    assert await whole(write) == b"abcegg\xc3\xa9"


async def test_what_the_writer_raises_reaches_the_reader_after_what_it_wrote() -> None:
    def write(file: Any) -> None:
        file.write(b"x")
        raise Broken

    items = iterate_writes(write)
    assert await anext(items) == b"x"
    with pytest.raises(Broken):
        await anext(items)


async def test_a_writer_waits_for_its_reader() -> None:
    written = 0

    def write(file: Any) -> None:
        nonlocal written
        for _ in range(100):
            file.write(b"x" * 99)
            written += 1

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    await anyio.sleep(0.03)
    # The batch that was taken, and what the buffer holds.
    assert 8 <= written <= 22
    assert len(await collect(items)) == 99


async def test_a_writer_is_stopped_when_its_reader_leaves() -> None:
    seen = []

    def write(file: Any) -> None:
        try:
            while True:
                file.write(b"x" * 100)
        except StreamStopped as exc:
            seen.append(exc)
            raise
        finally:
            seen.append("cleaned up")

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    await items.aclose()
    assert isinstance(seen[0], BrokenPipeError)
    assert seen[1:] == ["cleaned up"]
    assert items.error is None


async def test_a_writer_that_goes_on_regardless_adds_nothing_and_keeps_no_loop_busy() -> None:
    refused = 0
    enough = threading.Event()

    def write(file: Any) -> None:
        nonlocal refused
        while not enough.is_set():
            try:
                file.write(b"x" * 100)
            except OSError:
                refused += 1

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    async with anyio.create_task_group() as group:
        group.start_soon(items.aclose)
        await until(lambda: refused > 100)
        enough.set()


async def test_a_stop_that_the_writer_raises_of_itself_is_an_error() -> None:
    def write(file: Any) -> None:
        raise StreamStopped("an inner stream")

    with pytest.raises(StreamStopped, match="inner"):
        await whole(write)


async def test_a_writer_that_was_never_started_never_runs() -> None:
    ran = []
    await iterate_writes(ran.append).aclose()
    assert not ran


async def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="a function of one argument, a file to write to, got str"):
        iterate_writes("out.zip")  # type: ignore[arg-type]


class Lines:
    def encode(self, item: Any) -> bytes:
        return bytes(item) + b"\n"

    def finish(self) -> bytes:
        return b"end"


async def test_what_is_written_is_encoded_as_other_items_are() -> None:
    def write(file: Any) -> None:
        file.write(b"a")
        file.write(b"b")

    response = StreamingResponse(iterate_writes(write), encoder=Lines)
    assert (await fetch(response)).body == b"a\nb\nend"


async def test_a_stream_hands_its_iterable_to_a_response() -> None:
    response = StreamingResponse(iterate_in_threadpool(["a", "b"]))
    assert (await fetch(response)).body == b"ab"


# a stream of async content


# any bytes, as any type, cut anywhere, at any timing


def as_type(data: bytes, kind: str) -> Any:
    match kind:
        case "bytearray":
            return bytearray(data)
        case "memoryview":
            return memoryview(data)
        case "every other byte":
            return memoryview(bytes(byte for one in data for byte in (one, 0)))[::2]
        case "array":
            return array.array("B", data)
        case "str":
            return data.decode("latin-1")
    return data


KINDS = ["bytes", "bytearray", "memoryview", "every other byte", "array", "str"]
PIECES = st.lists(
    st.tuples(
        st.one_of(st.binary(max_size=20), st.binary(min_size=1000, max_size=1000)),
        st.sampled_from(KINDS),
        st.sampled_from([None, None, None, "turn", "sleep"]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("flavour", ["sync", "async"])
@settings(max_examples=40)
@given(pieces=PIECES, max_buffer=st.sampled_from([1, 30, 65536]), affine=st.booleans())
async def test_any_bytes_arrive_unchanged(
    flavour: str, pieces: list[tuple[bytes, str, str | None]], max_buffer: int, affine: bool
) -> None:
    def sync_items() -> Iterator[Any]:
        for data, kind, pause in pieces:
            if pause:
                time.sleep(0 if pause == "turn" else random.random() / 2000)
            yield (item := as_type(data, kind))
            if isinstance(item, bytearray):
                item[:] = b"?" * len(item)

    async def async_items() -> AsyncIterator[Any]:
        for data, kind, pause in pieces:
            if pause:
                await anyio.sleep(0 if pause == "turn" else random.random() / 2000)
            yield (item := as_type(data, kind))
            if isinstance(item, bytearray):
                item[:] = b"?" * len(item)

    response = StreamingResponse(
        sync_items() if flavour == "sync" else async_items(),
        charset="latin-1",
        max_buffer=max_buffer,
        thread_affine=affine,
    )
    received = await fetch(response, suspend_on_send=max_buffer == 30)
    assert received.complete
    assert received.body == b"".join(data for data, _, _ in pieces)
