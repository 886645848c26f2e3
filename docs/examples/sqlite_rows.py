import sqlite3
from contextlib import closing

from fastapi import FastAPI

from streamkit import CSVStreamingResponse


class RowsStreamingResponse(CSVStreamingResponse):
    thread_affine = True


app = FastAPI()


@app.get("/orders.csv", response_class=RowsStreamingResponse)
def orders():
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.row_factory = sqlite3.Row
        yield from connection.execute("SELECT id, customer, total FROM orders ORDER BY id")
