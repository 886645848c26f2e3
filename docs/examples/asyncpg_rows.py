import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, Request

from streamkit import CSVStreamingResponse

DATABASE = os.environ.get("DATABASE_URL", "postgresql://localhost/postgres")
# Rows that PostgreSQL makes up, so that this runs without a table.
QUERY = """
    SELECT n AS id, 'customer ' || n % 7 AS customer, n / 100.0::float AS total
    FROM generate_series(1, 20000) AS n
"""


@asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(DATABASE, min_size=1) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/orders.csv")
async def orders(request: Request):
    return CSVStreamingResponse(rows(request.app.state.pool), filename="orders.csv")


async def rows(pool):
    # A cursor needs a transaction. It fetches 1,000 rows at a time.
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        async for row in connection.cursor(QUERY, prefetch=1000):
            yield row
