import json

import httpx

from streamkit import split_lines


def ask(url: str, token: str):
    headers = {"Authorization": f"Bearer {token}"}
    # No limit for reading: a stream may be silent.
    timeout = httpx.Timeout(10, read=None)
    with httpx.stream("POST", url, headers=headers, timeout=timeout) as response:
        response.raise_for_status()
        for line in split_lines(response.iter_bytes()):
            yield json.loads(line)
