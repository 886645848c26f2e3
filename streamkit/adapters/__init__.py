"""Files and iterables as chunks: small functions that keep the flavour, sync or async, they get.

files.py        file_chunks, async_file_chunks
regrouping.py   rechunk, split_events, split_lines
"""

from __future__ import annotations

from streamkit.adapters.files import async_file_chunks, file_chunks
from streamkit.adapters.regrouping import rechunk, split_events, split_lines

__all__ = ["async_file_chunks", "file_chunks", "rechunk", "split_events", "split_lines"]
