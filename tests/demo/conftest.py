"""The demo runs on asyncio, as it does on uvicorn."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """What uvicorn runs on, which serves the demo."""
    return "asyncio"
