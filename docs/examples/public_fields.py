from dataclasses import dataclass

from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import JSONLinesStreamingResponse


@dataclass
class User:
    name: str
    password_hash: str


class PublicUser(BaseModel):
    name: str


app = FastAPI()


@app.get("/users", response_class=JSONLinesStreamingResponse[PublicUser])
def read_users():
    yield User("Rick", "c137")
    yield User("Morty", "s3cr3t")
