import os

from fastapi import FastAPI
from obstore.store import from_url
from starlette.responses import PlainTextResponse

from streamkit import OctetStreamStreamingResponse
from streamkit.objectstore import ObjectStoreSource

# "s3://bucket/folder", "gs://bucket", "az://container", "https://host/folder", "file:///folder"
URL = os.environ.get("DOWNLOADS", f"file://{os.path.abspath('downloads')}")

app = FastAPI()
store = from_url(URL)


@app.exception_handler(FileNotFoundError)
async def missing(request, exc):
    return PlainTextResponse("Not Found", 404)


@app.get("/downloads/{name:path}")
async def download(name: str):
    return OctetStreamStreamingResponse(ObjectStoreSource(store, name))
