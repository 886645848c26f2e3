import xlsxwriter
from fastapi import FastAPI

from streamkit import StreamingResponse, iterate_writes

app = FastAPI()


class XLSX(StreamingResponse):
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def rows():
    """Your query."""
    yield "id", "customer", "total"
    for number in range(1, 1001):
        yield number, f"customer {number % 7}", number / 100


@app.get("/orders.xlsx")
def orders():
    def write(file):
        with xlsxwriter.Workbook(file, {"constant_memory": True}) as workbook:
            sheet = workbook.add_worksheet("orders")
            for number, row in enumerate(rows()):
                sheet.write_row(number, 0, row)

    return XLSX(iterate_writes(write), filename="orders.xlsx")
