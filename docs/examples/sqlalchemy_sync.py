from fastapi import FastAPI
from sqlalchemy import create_engine, text

from streamkit import CSVStreamingResponse

engine = create_engine("sqlite:///shop.db")

app = FastAPI()


@app.get("/orders.csv")
def orders():
    return CSVStreamingResponse(rows(), filename="orders.csv")


def rows():
    query = text("SELECT id, customer, total FROM orders ORDER BY id")
    with engine.connect() as connection:
        yield from connection.execution_options(yield_per=1000).execute(query)
