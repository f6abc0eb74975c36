"""Solves in a flight, as the engine makes them, without the engine; and their times."""

from collections.abc import Callable
from statistics import median

import numpy as np

from models.backends.answer import Answer, Images
from models.backends.flight import Flight
from models.backends.protocol import Backend
from models.solvers.settings import SolverSettings
from service.engine.candidate import NO_ARGUMENTS

WARM_UPS = 2
"""Runs before a timed run."""


def flight_for(backend: Backend, solver: SolverSettings | None, capacity: int) -> Flight:
    """A flight for solves by some settings; None for a network without an ODE."""
    return backend.flight(None if solver is None else solver.method, capacity)


def solve(flight: Flight, images: Images, solver: SolverSettings | None) -> Answer:
    """Solve images that join an empty flight together. The answers are in the order of the images."""
    arguments = NO_ARGUMENTS if solver is None else solver.arguments
    flight.join(images, [arguments] * len(images), [None] * len(images))
    numbers, order, answers = list(range(len(images))), list[int](), list[Answer]()
    while numbers:
        if slots := flight.attempt():
            answers.append(flight.leave(slots))
            order += [numbers[slot] for slot in slots]
            for slot in reversed(slots):  # the flight fills each free slot with its last row
                last = numbers.pop()
                if slot < len(numbers):
                    numbers[slot] = last
    return Answer(*(np.concatenate(column)[np.argsort(order)] for column in zip(*answers, strict=True)))


def solve_all(backend: Backend, images: Images, solver: SolverSettings | None, capacity: int = 256) -> Answer:
    """Solve any number of images, as many at a time as fit into a flight."""
    flight = flight_for(backend, solver, capacity)
    answers = [solve(flight, images[start : start + capacity], solver) for start in range(0, len(images), capacity)]
    return Answer(*(np.concatenate(column) for column in zip(*answers, strict=True)))


def seconds_of(call: Callable[[], object], clock: Callable[[], float], runs: int) -> float:
    """The median seconds of a call, after some calls that do not count."""
    for _ in range(WARM_UPS):
        call()
    taken = []
    for _ in range(runs):
        began = clock()
        call()
        taken.append(clock() - began)
    return median(taken)
