import sqlite3
from contextlib import closing

from fastapi import FastAPI

from streamkit import CSVStreamingResponse, ResponseStart

app = FastAPI()


class OrdersStreamingResponse(CSVStreamingResponse):
    first_chunk_timeout = None  # the headers wait for the query
    thread_affine = True


@app.get("/orders.csv", response_class=OrdersStreamingResponse)
def orders():
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.row_factory = sqlite3.Row
        count = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
        if not count:
            yield ResponseStart(status_code=204)
            return
        name = f'attachment; filename="orders-{count}.csv"'
        yield ResponseStart(headers={"X-Total-Count": str(count), "Content-Disposition": name})
        yield from connection.execute("SELECT id, customer, total FROM orders")
