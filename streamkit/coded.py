"""The coding of one response: of its stream, of whole text, or of a file in place of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import Scope

from streamkit.asgi.writer import Writer
from streamkit.body.source import WholeBytes
from streamkit.compress import Coder, Uncoded, find_sibling, make_coder
from streamkit.http.accept_encoding import CodedHeaders, add_vary, code_headers, coded_etags
from streamkit.sources import PathSource
from streamkit.threads import run_in_stream_thread

if TYPE_CHECKING:
    from streamkit.sendable import Sendable

__all__ = ["choose_coder", "code_headers_of", "is_coded", "precompressed"]

Headers = list[tuple[bytes, bytes]]


def code_headers_of(response: Sendable, scope: Scope, own: Headers, status: int) -> CodedHeaders:
    """The coding that the request gets of the response, and the headers that say so."""
    return code_headers(
        scope.get("headers", ()),
        own,
        response._codings,
        status=status,
        media_type=response.media_type,
    )


def choose_coder(response: Sendable, scope: Scope, writer: Writer) -> Coder:
    """Choose a coding for the request, and say so in the headers."""
    coding, writer.headers = code_headers_of(response, scope, writer.headers, writer.status)
    return Uncoded() if coding is None else make_coder(coding)


def is_coded(response: Sendable, scope: Scope) -> bool:
    """Whether whole text is compressed for the request, and so sent as a stream is.

    If it only could be, its headers say that it varies. A source proper never is: its ranges are
    those of the plain bytes.
    """
    if not (response._codings and isinstance(response._opened, WholeBytes)):
        return False
    own = response.raw_headers
    coding, headers = code_headers_of(response, scope, own, response.status_code)
    if coding is None:
        own[:] = headers
    return coding is not None


async def precompressed(
    source: PathSource, scope: Scope, own: Headers
) -> tuple[PathSource, Headers, str | None]:
    """The sibling that the request accepts, with its coding, or the file itself.

    The answer varies either way.
    """
    accepted = [v.decode("latin-1") for n, v in scope.get("headers", ()) if n == b"accept-encoding"]
    sibling = await run_in_stream_thread(find_sibling, source.path, ", ".join(accepted) or None)
    vary = next((v.decode("latin-1") for n, v in own if n.lower() == b"vary"), None)
    headers = [pair for pair in own if pair[0].lower() != b"vary"]
    headers.append((b"vary", add_vary(vary).encode("latin-1")))
    if sibling is None:
        return source, headers, None
    coding = sibling.coding
    headers = [*coded_etags(headers, coding), (b"content-encoding", coding.encode("ascii"))]
    return PathSource(sibling.path), headers, coding
