from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

from tests.versions import STARLETTE

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    if STARLETTE < (1, 8):
        # Its BaseHTTPMiddleware leaves a generator to the garbage collector, and trio tells.
        leak = "Async generator 'starlette.requests.Request.stream'"
        config.addinivalue_line("filterwarnings", f"ignore:{leak}:ResourceWarning")


BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
