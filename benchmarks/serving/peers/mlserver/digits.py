"""The custom runtime of MLServer."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from solve import Solve


class Digits(MLModel):
    """Classifies the images of a batch."""

    async def load(self) -> bool:
        """Load the graph."""
        self.solve = Solve()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The probabilities and the function evaluations of each image."""
        probabilities, nfe = self.solve(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = {"probabilities": probabilities, "nfe": nfe[:, None]}
        encoded = [NumpyCodec.encode_output(name, values) for name, values in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=encoded)
