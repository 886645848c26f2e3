from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from streamkit import CSVStreamingResponse, JSONLinesStreamingResponse

engine = create_async_engine("sqlite+aiosqlite:///orders.db")


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    total: Mapped[float]


@dataclass
class Line:
    id: int
    customer: str
    total: float


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(Order(customer=f"customer {n % 7}", total=n / 100) for n in range(5000))
        await session.commit()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/orders.csv")
async def as_csv():
    return CSVStreamingResponse(rows(), filename="orders.csv")


async def rows():
    query = select(Order.id, Order.customer, Order.total).order_by(Order.id)
    async with engine.connect() as connection:
        # A cursor that stays on the server, and fetches 1,000 rows at a time.
        result = await connection.stream(query, execution_options={"yield_per": 1000})
        async for row in result:
            yield row


@app.get("/orders.jsonl")
async def as_json_lines():
    return JSONLinesStreamingResponse(objects())


async def objects():
    async with AsyncSession(engine) as session:
        query = select(Order).order_by(Order.id).execution_options(yield_per=1000)
        async for order in await session.stream_scalars(query):
            yield Line(order.id, order.customer, order.total)
