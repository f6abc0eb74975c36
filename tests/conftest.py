"""How all tests run: their fixtures, signals, garbage collector, marks and groups."""

import gc
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import serving

EXPORTED = {"artifact", "mlp_artifact"}
"""Fixtures that run the export."""

STARTING = {"service", "browser", "site"}
"""Fixtures that start the service or a browser, or build the site."""


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures, and let the processes that the tests start obey SIGHUP and SIGINT.

    The process that distributes the tests to others runs none, so it does not wait for the imports of the fixtures.
    Tests run side by side, so Hypothesis must not limit the time of its examples. `make test` repeats the same 50
    examples in each run; `make test-nightly` tries 500 new ones. A test may try a multiple: see `tests.examples`.

    A shell or ``nohup`` may start the tests with these signals ignored, and child processes would ignore them too. A
    handler that does nothing keeps the tests alive as before, but exec(3) resets the signal to its default.
    """
    distributes = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not distributes:
        config.pluginmanager.import_plugin("tests.fixtures")
    patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("usual", parent=settings(), max_examples=50, derandomize=True, **patient)
    settings.register_profile("nightly", parent=settings(), max_examples=500, derandomize=False, **patient)
    settings.load_profile(config.getoption("--hypothesis-profile") or "usual")
    for sig in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(sig) is signal.SIG_IGN:
            signal.signal(sig, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from scanning the modules and the tests, which live until the end.

    It would scan them again and again while they are made, and at every full collection of a test. During the tests, it
    runs after every 20,000 new objects instead of 700, because an export makes millions of objects that stay.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server, a browser or an export, and group the tests for pytest-xdist.

    The tests of a module stay together in one process, because they share costly fixtures. All modules that need the
    exported artifact stay together, so that the export runs once. A test may name another group by
    ``pytest.mark.xdist_group``. The export and the system tests come first, because they take the longest.
    """
    sharing = {item.path for item in items if EXPORTED & set(fixtures(item))}
    for item in items:
        if (STARTING | EXPORTED) & set(fixtures(item)):
            item.add_marker(pytest.mark.system)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("export" if item.path in sharing else item.path.name))
    items.sort(key=lambda item: (item.path not in sharing, item.get_closest_marker("system") is None))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let only a system test start the service; see `tests.serving.start`."""
    serving.may_start = item.get_closest_marker("system") is not None


def fixtures(item: pytest.Item) -> list[str]:
    """The names of all fixtures of a test."""
    return list(getattr(item, "fixturenames", []))
