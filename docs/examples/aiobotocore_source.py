import os
from contextlib import asynccontextmanager

from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from fastapi import FastAPI, HTTPException, Request

from streamkit import ByteSource, SourceInfo, StreamingResponse


@asynccontextmanager
async def lifespan(app):
    endpoint = os.environ.get("S3_ENDPOINT")
    async with get_session().create_client("s3", endpoint_url=endpoint) as app.state.s3:
        yield


app = FastAPI(lifespan=lifespan)


class S3Object(ByteSource):
    """An object of S3, with ranges and conditional requests."""

    def __init__(self, s3, bucket: str, key: str) -> None:
        self.s3, self.object = s3, {"Bucket": bucket, "Key": key}

    async def info(self) -> SourceInfo:
        try:
            head = await self.s3.head_object(**self.object)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "404":
                raise HTTPException(404) from exc
            raise
        self.object["IfMatch"] = head["ETag"]
        return SourceInfo(
            head["ContentLength"], head["ETag"], head["LastModified"], head["ContentType"]
        )

    async def read(self, start: int, end: int | None):
        if start == end:
            return  # HTTP has no range of nothing
        part = f"bytes={start}-{'' if end is None else end - 1}"
        answer = await self.s3.get_object(**self.object, Range=part)
        async with answer["Body"] as body:
            async for chunk in body.iter_chunks(256 * 1024):
                yield chunk


@app.get("/files/{key:path}")
@app.head("/files/{key:path}", include_in_schema=False)
async def download(key: str, request: Request):
    return StreamingResponse(S3Object(request.app.state.s3, "files", key))
