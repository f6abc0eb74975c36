"""A real backend on a device that counts evaluations and that can break and be repaired."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.backends.onnx import OnnxBackend, OnnxFlight
from models.solvers.attempt import Array, Attempt
from models.solvers.settings import SolveArguments


class Device:
    """Counts the evaluations of f that it has computed. A test can break a part of the computation of a method.

    Attributes:
        evaluations: evaluations of f so far, counted for each image.
    """

    def __init__(self) -> None:
        self.evaluations = 0
        self._broken: set[tuple[str, str | None]] = set()

    @contextmanager
    def broken(self, part: str, method: str | None) -> Iterator[None]:
        """Break a part for the time of the block."""
        self._broken.add((part, method))
        yield
        self._broken.remove((part, method))

    def use(self, part: str, method: str | None) -> None:
        """Use a part; raise an error if it is broken."""
        if (part, method) in self._broken:
            raise RuntimeError(f"no {part} of {method}: out of memory")

    def take_time(self, stems: int = 0, steps: int = 0, heads: int = 0, evaluations: int = 0) -> None:
        """Take the time of an operation: of some stems, or of the steps of some images, or of some heads."""


class DeviceFlight(OnnxFlight):
    """A flight of onnxruntime on a device."""

    device: Device

    @property
    def _method(self) -> str | None:
        return None if self.tableau is None else self.tableau.name

    def _begin(self, images: Images | Sequence[Images], first: int, arguments: Sequence[SolveArguments]) -> None:
        self.device.use("stem", self._method)
        super()._begin(images, first, arguments)
        if self.tableau is not None:
            self.device.evaluations += self.tableau.evaluations_to_start * len(images)
        self.device.take_time(stems=len(images))

    def _restore(self, starts: Sequence[Array], first: int, arguments: Sequence[SolveArguments]) -> None:
        self.device.use("restore", self._method)
        super()._restore(starts, first, arguments)
        if self.tableau is not None:
            self.device.evaluations += self.tableau.evaluations_to_start * len(starts)

    def _attempt(self, rows: int) -> Attempt:
        self.device.use("step", self._method)
        if self.tableau is not None:
            self.device.evaluations += self.tableau.evaluations_per_step * rows
            self.device.take_time(steps=rows, evaluations=self.tableau.evaluations_per_step)
        return super()._attempt(rows)

    def _move(self, sources: list[int], targets: list[int]) -> None:
        self.device.use("move", self._method)
        super()._move(sources, targets)

    def _logits(self, slots: Sequence[int]) -> npt.NDArray[np.float32]:
        self.device.use("head", self._method)
        self.device.take_time(heads=len(slots))
        return super()._logits(slots)


class DeviceBackend(OnnxBackend):
    """onnxruntime on a device. It shares the loaded graphs of another backend, because loading takes long."""

    def __init__(self, backend: OnnxBackend, device: Device) -> None:
        vars(self).update(vars(backend))
        self.device = device

    def flight(self, method: str | None, capacity: int, /) -> OnnxFlight:
        self.device.use("memory", method)
        step = None if method is None else self._steps[method]
        flight = DeviceFlight(self._stem, self._head, step, capacity)
        flight.device = self.device
        return flight
