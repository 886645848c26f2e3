from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from streamkit import CSVStreamingResponse

engine = create_engine("sqlite:///shop.db")
app = FastAPI()


def get_session():
    with Session(engine) as session:
        print("the session is open")
        yield session
    print("the session is closed")


def rows(session: Session):
    query = text("SELECT id, customer, total FROM orders")
    yield from session.execute(query, execution_options={"yield_per": 1000})
    print("all rows are sent")


@app.get("/orders.csv")
def orders(session: Annotated[Session, Depends(get_session)]):
    return CSVStreamingResponse(rows(session), filename="orders.csv")
