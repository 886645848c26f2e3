import os

import boto3
from anyio.to_thread import run_sync
from botocore.exceptions import ClientError
from fastapi import FastAPI, HTTPException

from streamkit import ByteSource, SourceInfo, StreamingResponse, iterate_in_threadpool

# Credentials and region come from the environment, as always with boto3.
s3 = boto3.client("s3", endpoint_url=os.environ.get("S3_ENDPOINT"))

app = FastAPI()


class S3Object(ByteSource):
    """An object of S3, with ranges and conditional requests."""

    def __init__(self, bucket: str, key: str) -> None:
        self.object = {"Bucket": bucket, "Key": key}

    async def info(self) -> SourceInfo:
        try:
            head = await run_sync(lambda: s3.head_object(**self.object))
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "404":
                raise HTTPException(404) from exc
            raise
        self.object["IfMatch"] = head["ETag"]  # not half of this version, half of the next
        return SourceInfo(
            head["ContentLength"], head["ETag"], head["LastModified"], head["ContentType"]
        )

    async def read(self, start: int, end: int | None):
        if start == end:
            return  # HTTP has no range of nothing
        part = f"bytes={start}-{'' if end is None else end - 1}"
        answer = await run_sync(lambda: s3.get_object(**self.object, Range=part))
        body = answer["Body"]
        try:
            async for chunk in iterate_in_threadpool(body.iter_chunks(256 * 1024)):
                yield chunk
        finally:
            body.close()


@app.get("/files/{key:path}")
@app.head("/files/{key:path}", include_in_schema=False)
async def download(key: str):
    return StreamingResponse(S3Object("files", key))
