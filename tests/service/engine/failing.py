"""A real backend on a device that can break, and be mended."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.backends.flight import Slots, Start
from models.backends.onnx import OnnxBackend, OnnxFlight
from models.solvers.attempt import Attempt


class Device:
    """What can break, and be mended: a part of the computation by a method."""

    def __init__(self) -> None:
        self._broken: set[tuple[str, str | None]] = set()

    @contextmanager
    def broken(self, part: str, method: str | None) -> Iterator[None]:
        self._broken.add((part, method))
        yield
        self._broken.remove((part, method))

    def use(self, part: str, method: str | None) -> None:
        if (part, method) in self._broken:
            raise RuntimeError(f"no {part} of {method}: out of memory")


class FailingFlight(OnnxFlight):
    """A flight of onnxruntime on a device that can break."""

    device: Device

    @property
    def _method(self) -> str | None:
        return None if self.tableau is None else self.tableau.name

    def _begin(self, images: Images | Sequence[Images], first: int, starts: list[Start]) -> None:
        self.device.use("stem", self._method)
        super()._begin(images, first, starts)

    def _attempt(self, rows: int) -> Attempt:
        self.device.use("step", self._method)
        return super()._attempt(rows)

    def _logits(self, slots: Slots) -> npt.NDArray[np.float32]:
        self.device.use("head", self._method)
        return super()._logits(slots)


class FailingBackend(OnnxBackend):
    """onnxruntime on a device that can break."""

    def __init__(self, folder: Path, methods: Collection[str], device: Device) -> None:
        super().__init__(folder, methods)
        self.device = device

    def flight(self, method: str | None, capacity: int, /) -> OnnxFlight:
        self.device.use("memory", method)
        step = None if method is None else self._steps[method]
        flight = FailingFlight(self._stem, self._head, step, capacity)
        flight.device = self.device
        return flight
