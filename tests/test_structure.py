"""The structure of the repository: which packages and rooms import which, and how long a file may be."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.serving import ROOT

PACKAGES = ("models", "training", "service", "benchmarks", "handbook", "tests")
MOST_LINES = 400
CLIENTS = ("Client", "AsyncClient", "get", "head", "options", "post", "put", "delete", "request", "stream")
"""What sends requests by HTTPX."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the syntax tree of a file."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The imports of a file, also inside functions, each as the parts of its name."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((*node.module.split("."), alias.name) for alias in node.names)


def called(call: ast.Call) -> str:
    """The name of a function that is called as an attribute of a module, with the module; otherwise the empty text."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return ""


def test_imports_between_packages_have_no_cycle() -> None:
    graph = {
        package: {name[0] for path in sources(package) for name in imported(path)} & {*PACKAGES} - {package}
        for package in PACKAGES
    }
    assert "models" in graph["service"], "an import that exists is found"
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


@pytest.mark.parametrize(
    ("package", "room", "other"),
    [
        ("models", "backends", "solvers"),
        ("training", "export", "ladders"),
        ("service", "hosting", "engine"),
        ("benchmarks", "gpu", "serving"),
    ],
)
def test_imports_between_rooms_of_a_package_have_no_cycle(package: str, room: str, other: str) -> None:
    """A room is a subpackage, or a single module next to the subpackages. The first room imports the other one."""
    graph: dict[str, set[str]] = {}
    for path in sources(package):
        importing = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        rooms = {name[1] for name in imported(path) if name[0] == package and len(name) > 1}
        graph.setdefault(importing, set()).update(rooms - {importing})
    assert other in graph[room], "an import that exists is found"
    list(TopologicalSorter(graph).static_order())


def test_no_client_of_a_test_has_the_time_limit_of_httpx() -> None:
    """HTTPX gives up after 5 seconds by default, and a busy machine may stand still for as long."""
    calls = {
        f"{path.relative_to(ROOT)}:{node.lineno}": {keyword.arg for keyword in node.keywords}
        for path in sources("tests")
        for node in nodes(path)
        if isinstance(node, ast.Call) and called(node) in {f"httpx.{name}" for name in CLIENTS}
    }
    assert calls, "calls that exist are found"
    assert [call for call, given in calls.items() if not given & {"timeout", "transport"}] == []


def test_no_python_file_is_longer_than_400_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for package in PACKAGES
        for path in sources(package)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
