"""The review page as a web application on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.page import render
from repair_pipeline.reporting.review.desk import Desk, Wanted
from repair_pipeline.reporting.review.pictures import picture

HERE = Path(__file__).parent
HOSTS = ("127.0.0.1", "localhost", "::1", "[::1]")
"""Names by which the page is asked for. Others are refused: a page of another site may have a name that leads here."""
_MOST = 500
"""Rows that are told at once."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def about(desk: Desk, who: str) -> dict[str, Any]:
    """What the page knows from the start."""
    sheet = desk.sheet
    return {
        "case": sheet.case_id,
        "who": who,
        "classes": list(sheet.data.classes),
        "images": sheet.has_images,
        "text": sheet.text_column,
        "sorts": desk.sorts,
        "groups": desk.groups,
        "patch": int(sheet.in_patch.sum()),
        "rows": len(sheet),
    }


def review_app(desk: Desk, who: str) -> Starlette:
    """The application.

    Args:
        desk: the review.
        who: the name that the page suggests for the reviewer.
    """

    def page(request: Request) -> Response:
        return Response(render("review/review.html.jinja", about=about(desk, who), static=None), media_type="text/html")

    def asset(request: Request) -> Response:
        name = request.path_params["name"]
        kinds = {"review.js": "text/javascript", "served.js": "text/javascript", "review.css": "text/css"}
        if name not in kinds:
            return PlainTextResponse("not found", 404)
        return Response((HERE / name).read_bytes(), media_type=kinds[name])

    def order(request: Request) -> Response:
        asked = request.query_params
        wanted = Wanted(
            **{name: asked.get(name, "") for name in ("search", "label", "decision", "group")},
            scope=asked.get("scope", "patch"),
            sort=asked.get("sort", "rank"),
            descending=asked.get("descending") == "true",
        )
        rows, groups = desk.listed(wanted)
        return JSONResponse({"rows": rows.tolist(), "groups": groups})

    def rows(request: Request) -> Response:
        positions = _positions(request.query_params.get("at", ""), len(desk.sheet))
        return JSONResponse(desk.sheet.shown(positions))

    def changes(request: Request) -> Response:
        return JSONResponse(desk.changes(_number(request.query_params.get("since", "0"))))

    def image(request: Request) -> Response:
        content = picture(desk.sheet, request.path_params["kind"], request.path_params["at"])
        # The address has the case's id, whose rows never change.
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    async def decide(request: Request) -> Response:
        asked = await _json(request)
        items = asked.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InputError("there is no list of decisions: give items")
        return JSONResponse(await run_in_threadpool(desk.decide, items, str(asked.get("who") or "")))

    async def undo(request: Request) -> Response:
        asked = await _json(request)
        first, end = (_number(asked.get(name)) for name in ("first", "end"))
        return JSONResponse(await run_in_threadpool(desk.undo, first, end, str(asked.get("who") or "")))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/assets/{name}", asset),
            Route("/order", order),
            Route("/rows", rows),
            Route("/changes", changes),
            Route("/image/{case}/{kind}/{at:int}", image),
            Route("/decisions", decide, methods=["POST"]),
            Route("/undo", undo, methods=["POST"]),
        ],
        middleware=[Middleware(_Guarded), Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
        exception_handlers={InputError: lambda request, error: PlainTextResponse(str(error), 400)},
    )


class _Guarded:
    """Adds the headers of safety, and refuses what another site's page sends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                new = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in new if pair[0] not in present)]
            await send(message)

        app: ASGIApp = self._app
        if scope["method"] == "POST" and not _ours(headers):
            app = PlainTextResponse("only the page itself may decide", 403)
        await app(scope, receive, answer)


def _ours(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from the page itself: a form of another site cannot send JSON, and names its origin."""
    origin = headers.get("origin")
    is_json = headers.get("content-type", "").split(";")[0].strip() == "application/json"
    return is_json and origin in (None, f"http://{headers.get('host')}")


async def _json(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.body())
    except ValueError as error:
        raise InputError(f"the request is not JSON ({error}): send an object") from error
    if not isinstance(asked, dict):
        raise InputError("the request is no JSON object: send an object")
    return asked


def _number(value: object) -> int:
    try:
        return max(0, int(str(value)))
    except ValueError:
        raise InputError(f"{value!r} is not a number: give one") from None


def _positions(listed: str, rows: int) -> list[int]:
    positions = [_number(at) for at in listed.split(",") if at]
    if len(positions) > _MOST or any(at >= rows for at in positions):
        raise InputError(f"there are {rows} rows, of which {_MOST} are told at once: ask for fewer")
    return positions
