"""A shop's service in Python. Its metrics, logs and spans use the handle API without a library.

    cargo xtask guests   # builds target/guests/python-guest.wasm; needs Python 3.10 or newer
    wasmetry serve target/guests/python-guest.wasm
    curl 'http://127.0.0.1:8080/checkout?item=pear'   # then open http://127.0.0.1:9464/metrics

By hand, in this folder: pip install componentize-py==0.25.1, and

    componentize-py -d ../../wit -d service.wit -w wasmetry:python-guest/service \
        componentize service -o python-guest.wasm
"""

from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.attributes import Attribute, Value_Double, Value_String
from wit_world.imports.logs import Level, LogRecord, emit
from wit_world.imports.metrics import Counter, Descriptor, Histogram, Label
from wit_world.imports.spans import Span, SpanKind, Status_Error
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

# This code runs when the component is built, without a host; series are resolved on first use.
REQUESTS = Descriptor("py_requests_total", "Requests by route and status.", None)
SOLD = Descriptor("py_items_sold_total", "Items sold.", None)
PRICE = Descriptor("py_order_price_euros", "What orders cost.", "euros")
PRICES = {"pear": 0.5, "melon": 3.0, "truffle": 120.0}


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        url = urlsplit(request.path_with_query() or "/")
        route = url.path if url.path in ("/", "/checkout", "/boom") else "other"
        # Leaving the block drops the handle, which ends the span.
        with Span.start("handle", SpanKind.INTERNAL, None, [text("route", route)]) as span:
            log(Level.DEBUG, "a request", [text("path", url.path)], span)
            try:
                status, body = answer(route, parse_qs(url.query), span)
            except Exception as error:
                count(route, 500)
                span.set_status(Status_Error(str(error)))
                log(Level.ERROR, "a request failed", [text("error", str(error))], span)
                raise
            count(route, status)
        respond(response_out, status, body)


def answer(route: str, query: dict[str, list[str]], span: Span) -> tuple[int, str]:
    match route:
        case "/":
            return 200, "Welcome.\n"
        case "/checkout":
            return checkout(query.get("item", ["pear"])[0], span)
        case "/boom":
            raise RuntimeError("as it was asked to")
        case _:
            return 404, "There is nothing here.\n"


def checkout(item: str, parent: Span) -> tuple[int, str]:
    with parent.child("checkout", SpanKind.INTERNAL, [text("item", item)]) as span:
        price = PRICES.get(item)
        if price is None:
            log(Level.WARN, "no such item", [text("item", item)], span)
            return 404, "We have none.\n"
        Counter.resolve(SOLD, [Label("item", item)]).inc()
        Histogram.resolve(PRICE, [1.0, 10.0, 100.0], []).observe(price)
        log(Level.INFO, "sold", [text("item", item), Attribute("price", Value_Double(price))], span)
        return 200, "Thank you.\n"


def count(route: str, status: int) -> None:
    Counter.resolve(REQUESTS, [Label("route", route), Label("status", str(status))]).inc()


def log(level: Level, message: str, attributes: list[Attribute], span: Span) -> None:
    emit(LogRecord(level, "shop", message, attributes), span)


def text(key: str, value: str) -> Attribute:
    return Attribute(key, Value_String(value))


def respond(response_out: ResponseOutparam, status: int, body: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain; charset=utf-8")]))
    response.set_status_code(status)
    outgoing = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with outgoing.write() as stream:
        stream.blocking_write_and_flush(body.encode())
    OutgoingBody.finish(outgoing, None)
