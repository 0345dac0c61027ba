"""The rules of the house that no reviewer has to watch: imports, names, docstrings, one list of metrics."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("webhooks", "workers", "fixtures", "bench")
CATALOGUE = ROOT / "workers" / "kernel" / "metrics.py"
METRIC_MAKERS = {
    "Counter",
    "Gauge",
    "Histogram",
    "Summary",
    "Info",
    "Enum",
    "GaugeMetricFamily",
    "CounterMetricFamily",
}
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "shared"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("command", ["repair", "check"])
def test_commands_on_files_load_no_database(command: str) -> None:
    """If this fails, whoever repairs a file waits for what he does not use, and pays for it with memory."""
    code = f"import sys, workers.cli.{command}; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, timeout=60).returncode == 0


def test_imports_follow_the_layers() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    told = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_every_package_says_where_to_start_reading() -> None:
    """The docstring of a package has more than one line: what it owns, what it may import, where to start."""
    packages = [path for path in modules() if path.name == "__init__.py"]
    assert packages
    terse = [
        name(path)
        for path in packages
        if len((ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()) < 3
    ]
    assert terse == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = [name(path) for path in modules() if path.stem in SHAPELESS or path.parent.name in SHAPELESS]
    assert drawers == []


def test_every_metric_is_made_in_the_catalogue() -> None:
    strays = [
        f"{name(path)}:{call.lineno}"
        for path in modules()
        if path != CATALOGUE and "prometheus_client" in path.read_text("utf-8")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and _called(call) in METRIC_MAKERS and _names_itself(call)
    ]
    assert strays == []


def test_every_metric_of_the_catalogue_is_used() -> None:
    made = [
        target.id
        for node in ast.parse(CATALOGUE.read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and _called(node.value) in METRIC_MAKERS
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    elsewhere = "".join(path.read_text("utf-8") for path in modules() if path != CATALOGUE)
    assert made
    assert [metric for metric in made if f"metrics.{metric}" not in elsewhere] == []


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _names_itself(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant)


@pytest.mark.parametrize("package", ["webhooks", "workers/kernel"])
def test_the_web_and_what_it_imports_never_name_polars(package: str) -> None:
    """A process that has executed polars must not fork, and gunicorn's master forks."""
    naming = [name(path) for path in (ROOT / package).rglob("*.py") if _imports(path, "polars")]
    assert naming == []


def _imports(path: Path, module: str) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return any(found == module or found.startswith(f"{module}.") for found in plain | from_)
