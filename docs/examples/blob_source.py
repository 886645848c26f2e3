import sqlite3

from anyio.to_thread import run_sync
from fastapi import FastAPI, HTTPException

from streamkit import ByteSource, SourceInfo, StreamingResponse


class Blob(ByteSource):
    """A value in a SQLite table, read from the middle and never held in memory whole."""

    def __init__(self, database: str, row: int) -> None:
        self.database, self.row = database, row
        self.connection: sqlite3.Connection | None = None

    async def info(self) -> SourceInfo:
        size = await run_sync(self._open)
        # A report never changes here; where one does, its version belongs into the tag.
        return SourceInfo(size, etag=f'"{self.row}"', media_type="application/pdf")

    def _open(self) -> int:
        self.connection = sqlite3.connect(self.database, check_same_thread=False)
        try:
            self.blob = self.connection.blobopen("reports", "body", self.row, readonly=True)
        except sqlite3.OperationalError:
            raise HTTPException(404) from None
        return len(self.blob)

    async def read(self, start, end):
        while start < end:
            size = min(256 * 1024, end - start)
            yield await run_sync(self.blob.__getitem__, slice(start, start + size))
            start += size

    async def aclose(self) -> None:
        if self.connection is not None:
            self.connection.close()


app = FastAPI()


@app.get("/reports/{row}")
def report(row: int):
    return StreamingResponse(Blob("reports.db", row))
