from decimal import Decimal

from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import JSONLinesStreamingResponse


class Item(BaseModel):
    name: str
    price: Decimal


items = [
    Item(name="Plumbus", price=Decimal("19.99")),
    Item(name="Portal Gun", price=Decimal("9999.00")),
]

ItemsStreamingResponse = JSONLinesStreamingResponse[Item]

app = FastAPI()


@app.get(
    "/items",
    response_class=ItemsStreamingResponse,
    responses=ItemsStreamingResponse.openapi(),
)
def read_items():
    yield from items
