"""``GET /metrics``: the metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.problems import ANY
from service.telemetry.metrics import Metrics


def router(metrics: Metrics) -> APIRouter:
    """The route to these metrics."""
    routes = APIRouter(tags=["observability"], responses=ANY)

    @routes.get(
        "/metrics",
        summary="Metrics of all processes, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def get_metrics(request: Request) -> Response:  # not async, so FastAPI calls it in a thread outside the event loop
        content, media_type = metrics.exposition(request.headers.get("accept", CONTENT_TYPE_LATEST))
        return Response(content, headers={"content-type": media_type})

    return routes
