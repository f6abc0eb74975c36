"""Floor: a plain FastAPI route that reads the body and returns as many bytes as an answer of the service has."""

from fastapi import FastAPI, Request, Response

from benchmarks.serving.contenders.common import ANSWER


def create_app() -> FastAPI:
    """The application."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Read the body, and return a constant."""
        await request.body()
        return Response(ANSWER, media_type="application/json")

    return app
