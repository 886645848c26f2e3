import sqlite3
from contextlib import closing

from fastapi import FastAPI

from streamkit import CSVStreamingResponse, JSONLinesStreamingResponse

QUERY = "SELECT id, customer, total FROM orders ORDER BY id"

app = FastAPI()


def orders():
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.row_factory = sqlite3.Row
        yield from connection.execute(QUERY)


@app.get("/orders.csv")
def as_csv():
    return CSVStreamingResponse(orders(), filename="orders.csv", thread_affine=True)


@app.get("/orders.jsonl")
def as_json_lines():
    return JSONLinesStreamingResponse(orders(), thread_affine=True)
