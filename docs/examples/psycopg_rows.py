import os

import psycopg
from fastapi import FastAPI
from psycopg.rows import dict_row

from streamkit import CSVStreamingResponse, JSONLinesStreamingResponse

DATABASE = os.environ.get("DATABASE_URL", "postgresql://localhost/postgres")
QUERY = """
    SELECT n AS id, 'customer ' || n %% 7 AS customer, n / 100.0::float AS total
    FROM generate_series(1, %s) AS n
"""

app = FastAPI()


@app.get("/orders.csv")
def as_csv():
    return CSVStreamingResponse(rows(20_000), filename="orders.csv")


def rows(count: int):
    with (
        psycopg.connect(DATABASE) as connection,
        # A cursor with a name is kept by the server; without one, all rows are fetched first.
        connection.cursor("export", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = 1000
        yield from cursor.execute(QUERY, [count])


@app.get("/orders.jsonl")
async def as_json_lines():
    return JSONLinesStreamingResponse(async_rows(20_000))


async def async_rows(count: int):
    async with (
        await psycopg.AsyncConnection.connect(DATABASE) as connection,
        connection.cursor("export", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = 1000
        async for row in await cursor.execute(QUERY, [count]):
            yield row
