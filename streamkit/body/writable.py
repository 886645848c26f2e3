"""The file that `iterate_writes` hands to its function."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

    # As the standard library's stubs have it for `BytesIO` and `FileIO`.
    class _BinaryFile(io.RawIOBase, BinaryIO):
        pass

else:
    _BinaryFile = io.RawIOBase

__all__ = ["WritableFile"]


class WritableFile(_BinaryFile):
    """The file of `iterate_writes`: its annotation, and what a function may do with it.

    A `BinaryIO` that can only be written to, and whose `write` takes `str` too, as UTF-8. Whatever
    takes an open binary file takes it. `seek` raises `io.UnsupportedOperation`, as for a pipe.

        def save(file: WritableFile) -> None:
            csv.writer(file).writerow(["a", "b"])
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._position = 0

    @property
    def mode(self) -> str:
        """`wb`: write, binary."""
        return "wb"

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._position

    def write(self, data: Buffer | str, /) -> int:
        """Send `data`; blocks while the reader is behind, raises `StreamStopped` once it left."""
        if self.closed:
            raise ValueError("write to a closed file")
        chunk = data.encode() if isinstance(data, str) else memoryview(data).tobytes()
        self._position += len(chunk)
        self._put(chunk)
        return len(data) if isinstance(data, str) else len(chunk)
