from dataclasses import dataclass

from fastapi import FastAPI

from streamkit import CSVStreamingResponse


@dataclass
class Order:
    id: int
    customer: str
    total: float


def orders():
    yield Order(1, "Rick", 19.99)
    yield Order(2, "Morty, Summer", 5.0)
    yield Order(3, "=HYPERLINK(0)", 1.5)


app = FastAPI()


@app.get("/orders.csv")
def export():
    return CSVStreamingResponse(orders(), filename="orders.csv", excel=True, escape_formulas=True)
