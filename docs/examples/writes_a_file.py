import datetime

import matplotlib.figure
import pandas
import pyarrow
import pyarrow.parquet
from fastapi import FastAPI
from PIL import Image, ImageDraw

from streamkit import (
    ParquetStreamingResponse,
    PDFStreamingResponse,
    PNGStreamingResponse,
    StreamingResponse,
    XLSXStreamingResponse,
    iterate_writes,
)

app = FastAPI()


def sales(month: int) -> pandas.DataFrame:
    days = pandas.date_range(datetime.date(2026, month, 1), periods=28)
    return pandas.DataFrame({"day": days, "sold": range(month, month + 28)})


@app.get("/sales.xlsx")
def as_excel():
    def write(file):
        with pandas.ExcelWriter(file, engine="xlsxwriter") as workbook:
            for month in range(1, 13):
                sales(month).to_excel(workbook, sheet_name=f"2026-{month:02}", index=False)

    return XLSXStreamingResponse(iterate_writes(write), filename="sales.xlsx")


@app.get("/sales.parquet")
def as_parquet():
    def write(file):
        schema = pyarrow.Schema.from_pandas(sales(1))
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for month in range(1, 13):
                writer.write_table(pyarrow.Table.from_pandas(sales(month), schema))

    return ParquetStreamingResponse(iterate_writes(write), filename="sales.parquet")


@app.get("/sales.csv")
def as_csv():
    def write(file):
        for month in range(1, 13):
            sales(month).to_csv(file, index=False, header=month == 1)

    return StreamingResponse(iterate_writes(write), media_type="text/csv", filename="sales.csv")


@app.get("/sales.pdf")
def as_plot():
    figure = matplotlib.figure.Figure()
    table = sales(1)
    figure.subplots().plot(table["day"], table["sold"])

    def write(file):
        figure.savefig(file, format="pdf")

    return PDFStreamingResponse(iterate_writes(write))


@app.get("/badge.png")
def as_image(text: str = "28 sold"):
    image = Image.new("RGB", (160, 40), "white")
    ImageDraw.Draw(image).text((20, 14), text, "black")

    def write(file):
        image.save(file, "PNG")

    return PNGStreamingResponse(iterate_writes(write))
