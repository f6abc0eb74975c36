"""The command line of training: a fit from beginning to end, and a line for each error."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from models.artifact import METRICS, Artifact
from models.backends.protocol import classify
from models.backends.torch import TorchBackend
from models.solvers.settings import SolverSettings
from training.cli import app
from training.data import Dataset
from training.evaluate import error_rate
from training.fitted import open_fitted
from training.run import CHECKPOINT, CONFIG, load_network

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
WIDE = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}

RECIPE = """\
network = "odenet-strided"
epochs = 1
batch_size = 16
learning_rate = 1e-3
weight_decay = 0.01
label_smoothing = 0.0
average_decay = 0.5
precision = "float32"

[solver]
gradient = "solver"
method = "euler"
steps = [1]
kinetic_penalty = 0.01

[validation]
method = "heun2"
tolerance = 10

[augmentation]
rotation = 5
scale = 0.1
shear = 0.1
shift = 1
elastic = 0.5
control_points = 4
"""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=WIDE)


def failed(result: Result, *said: str) -> None:
    """Check that a command exited with status 1 and one line on stderr, which contains all of these texts."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for text in said:
        assert text in line
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "cheap.toml"
    path.write_text(RECIPE)
    return path


def without_tables(recipe: str, *names: str) -> str:
    """The recipe without some of its tables."""
    tables = recipe.split("\n\n")
    return "\n\n".join(table for table in tables if not table.startswith(tuple(f"[{name}]" for name in names)))


@pytest.fixture(scope="module")
def finished(data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The run folder of a fit by the command line, and the result of the command."""
    folder = tmp_path_factory.mktemp("runs") / "cheap"
    command = ("fit", "--recipe", recipe, "--run", folder, "--data", data, "--seed", 5, "--device", "cpu")
    return folder, invoke(*command)


@pytest.fixture(scope="module")
def run_folder(finished: tuple[Path, Result]) -> Path:
    return finished[0]


@pytest.mark.parametrize("command", [[], ["fit"], ["evaluate"], ["profile"], ["export"], ["ladders"]])
def test_every_command_has_a_help_text(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    words = {"": ["fit", "evaluate", "profile", "export"], "fit": ["--resume", "--seed"], "evaluate": ["--tolerance"]}
    for word in words.get(" ".join(command), ["--data"]):
        assert word in result.stdout


def test_python_m_training_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "training", "evaluate", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr.strip() == "error: nowhere: neither an artifact (manifest.json) nor a run (checkpoint.safetensors)"
    )


def test_a_fit_starts_from_the_network_that_its_recipe_names(
    mlp_artifact: Artifact, data: Path, tmp_path: Path
) -> None:
    text = without_tables(RECIPE, "solver", "validation").replace(
        '"odenet-strided"', f'"mlp"\nstart = "{mlp_artifact.folder}"'
    )
    recipe, folder = tmp_path / "further.toml", tmp_path / "further"
    recipe.write_text(text.replace("learning_rate = 1e-3", "learning_rate = 1e-12"))
    result = invoke("fit", "--recipe", recipe, "--run", folder, "--data", data, "--device", "cpu")
    assert result.exit_code == 0, result.output
    networks = (open_fitted(each, torch.device("cpu"))[0] for each in (mlp_artifact.folder, folder))
    for before, after in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_a_run_is_not_resumed_with_a_newer_version_of_a_teacher(
    mlp_artifact: Artifact, data: Path, tmp_path: Path
) -> None:
    teacher, recipe, folder = tmp_path / "teacher", tmp_path / "student.toml", tmp_path / "student"
    shutil.copytree(mlp_artifact.folder, teacher / "1")
    plain = without_tables(RECIPE, "solver", "validation").replace('"odenet-strided"', '"mlp"')
    recipe.write_text(f'{plain}\n[distil]\nteachers = ["{teacher}"]\ntemperature = 2\nweight = 0.5\n')
    command = ("fit", "--recipe", recipe, "--run", folder, "--data", data, "--device", "cpu")
    assert invoke(*command).exit_code == 0
    assert json.loads((folder / CONFIG).read_text())["recipe"]["distil"]["teachers"] == [str(teacher / "1")]
    assert invoke(*command, "--resume").exit_code == 0
    shutil.copytree(mlp_artifact.folder, teacher / "2")
    failed(invoke(*command, "--resume"), f"{folder / CONFIG}: the run started with another recipe")


def test_a_fit_runs_from_beginning_to_end(finished: tuple[Path, Result]) -> None:
    folder, result = finished
    assert result.exit_code == 0, result.output
    assert re.search(r"epoch 1/1  loss \d\.\d{4}  error .*%  validation .*% at 2\.0 NFE", result.stdout)
    assert {CHECKPOINT, CONFIG, METRICS} <= {path.name for path in folder.iterdir()}
    config = json.loads((folder / CONFIG).read_text())
    assert (config["seed"], config["dataset"], config["device"]) == (5, "little", "cpu")
    assert len((folder / METRICS).read_text().splitlines()) == 1


def test_resuming_a_finished_fit_changes_nothing(run_folder: Path, data: Path, recipe: Path) -> None:
    before = (run_folder / CHECKPOINT).read_bytes()
    result = invoke("fit", "--recipe", recipe, "--run", run_folder, "--data", data, "--seed", 5, "--resume")
    assert result.exit_code == 0, result.output
    assert (run_folder / CHECKPOINT).read_bytes() == before
    assert len((run_folder / METRICS).read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "solver"),
    [
        ([], SolverSettings.adaptive("heun2", 10)),
        (["--tolerance", "0.1"], SolverSettings.adaptive("heun2", 0.1)),
        (["--method", "bosh3"], SolverSettings.adaptive("bosh3", 10)),
        (["--method", "bosh3", "--tolerance", "1"], SolverSettings.adaptive("bosh3", 1)),
        (["--method", "rk4", "--steps", "3"], SolverSettings(method="rk4", steps=3)),
    ],
)
def test_evaluate_uses_the_requested_solver(
    run_folder: Path, data: Path, mnist: Dataset, options: list[str], solver: SolverSettings
) -> None:
    result = invoke("evaluate", run_folder, "--split", "test", "--data", data, *options)
    assert result.exit_code == 0, result.output
    network, _ = load_network(run_folder, torch.device("cpu"))
    answer = classify(TorchBackend(network), mnist.test.images[:40].numpy(), solver)
    error = error_rate(answer.digits, mnist.test.labels[:40].numpy())
    assert result.stdout == f"test error {error} by {solver}, {answer.nfe.mean():.2f} NFE per image\n"


@pytest.fixture(scope="module")
def mlp_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network without an ODE."""
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    recipe = folder.with_suffix(".toml")
    recipe.write_text(without_tables(RECIPE, "solver", "validation").replace('"odenet-strided"', '"mlp"'))
    result = invoke("fit", "--recipe", recipe, "--run", folder, "--data", data, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return folder


def test_a_network_without_an_ode_is_evaluated_without_a_solver(mlp_folder: Path, data: Path, mnist: Dataset) -> None:
    result = invoke("evaluate", mlp_folder, "--split", "test", "--data", data)
    assert result.exit_code == 0, result.output
    network, _ = load_network(mlp_folder, torch.device("cpu"))
    answer = classify(TorchBackend(network), mnist.test.images[:40].numpy(), None)
    assert result.stdout == f"test error {error_rate(answer.digits, mnist.test.labels[:40].numpy())}\n"


@pytest.mark.parametrize("options", [["--tolerance", "0.1"], ["--method", "rk4", "--steps", "2"], ["--steps", "2"]])
def test_a_network_without_an_ode_takes_no_solver(mlp_folder: Path, data: Path, options: list[str]) -> None:
    failed(invoke("evaluate", mlp_folder, "--data", data, *options), "solves no ODE")


def test_a_network_without_an_ode_has_no_profile(mlp_folder: Path, data: Path) -> None:
    failed(invoke("profile", mlp_folder, "--data", data), str(mlp_folder), "solves no ODE")


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_an_artifact_is_evaluated_by_either_backend(artifact: Artifact, data: Path, backend: str) -> None:
    """The test split has 40 digits; the export of the artifact measured only the first 32 of them."""
    result = invoke("evaluate", artifact.folder, "--split", "test", "--data", data, "--backend", backend)
    assert result.exit_code == 0, result.output
    assert " of 40; 95 % interval " in result.stdout
    assert f" by {artifact.manifest.default_solver}, " in result.stdout


def test_evaluate_uses_the_validation_split_by_default(run_folder: Path, data: Path) -> None:
    result = invoke("evaluate", run_folder, "--data", data, "--method", "euler", "--steps", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("validation error ")
    assert " of 5,000; " in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "magic"], ["no method is called 'magic'", "dopri5"]),
        (["--tolerance", "11"], ["less than or equal to 10"]),
        (["--tolerance", "1e-7"], ["greater than or equal to 0.000001"]),
        (["--tolerance", "nan"], ["finite number"]),
        (["--method", "dopri5", "--steps", "2"], ["dopri5 is adaptive: it takes rtol and atol, and no steps"]),
        (["--steps", "2"], ["heun2 is adaptive: it takes rtol and atol, and no steps"]),
        (["--method", "rk4"], ["rk4 takes a fixed number of steps, and no tolerance"]),
        (["--method", "rk4", "--tolerance", "1"], ["rk4 takes a fixed number of steps, and no tolerance"]),
        (["--method", "rk4", "--steps", "0"], ["steps"]),
        (["--method", "rk4", "--steps", "101"], ["steps"]),
    ],
)
def test_an_invalid_solver_is_refused(run_folder: Path, data: Path, options: list[str], said: list[str]) -> None:
    failed(invoke("evaluate", run_folder, "--data", data, *options), *said)


def test_evaluate_refuses_a_method_that_the_artifact_does_not_export(two_methods: Artifact, data: Path) -> None:
    failed(
        invoke("evaluate", two_methods.folder, "--data", data, "--method", "rk4", "--steps", 2),
        f"method rk4: {two_methods.folder} does not have this method; its methods are bosh3, dopri5",
    )


def test_torch_evaluates_a_method_that_the_artifact_does_not_export(two_methods: Artifact, data: Path) -> None:
    options = ("--split", "test", "--method", "rk4", "--steps", 2, "--backend", "torch")
    result = invoke("evaluate", two_methods.folder, "--data", data, *options)
    assert result.exit_code == 0, result.output
    assert " by rk4, 2 steps, " in result.stdout


def test_ladders_are_only_measured_on_the_dataset_of_the_fit(artifact_copy: Path, data: Path) -> None:
    failed(invoke("ladders", artifact_copy, "--data", data), "fitted on few-digits; the given dataset is little")


@pytest.mark.parametrize("command", ["evaluate", "profile", "export"])
def test_a_missing_run_is_named(tmp_path: Path, data: Path, command: str) -> None:
    failed(invoke(command, tmp_path / "nowhere", "--data", data), str(tmp_path / "nowhere"))


@pytest.mark.parametrize("command", ["evaluate", "profile", "export"])
def test_a_missing_data_folder_is_named(run_folder: Path, tmp_path: Path, command: str) -> None:
    models = ["--models", tmp_path / "models"] if command == "export" else []
    result = invoke(command, run_folder, "--data", tmp_path / "nowhere", *models)
    failed(result, str(tmp_path / "nowhere" / "train-images-idx3-ubyte"), "missing")
    assert not (tmp_path / "models").exists()


def test_a_fit_without_data_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    result = invoke("fit", "--recipe", recipe, "--run", tmp_path / "run", "--data", tmp_path / "nowhere")
    failed(result, str(tmp_path / "nowhere" / "train-images-idx3-ubyte"))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def unfinished(run_folder: Path, tmp_path: Path) -> Path:
    """A run folder with one epoch of three."""
    folder = shutil.copytree(run_folder, tmp_path / "unfinished")
    config = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(config.replace('"epochs": 1', '"epochs": 3'))
    return folder


UNFINISHED = f"{CHECKPOINT}: has epoch 1 of 3; resume the fit to finish it"


def test_an_unfinished_run_is_not_exported(unfinished: Path, data: Path, tmp_path: Path) -> None:
    failed(invoke("export", unfinished, "--data", data, "--models", tmp_path / "models"), UNFINISHED)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    "role",
    ['start = "{}"', 'distil = {{teachers = ["{}"], temperature = 2, weight = 0.5}}'],
    ids=["start", "teacher"],
)
def test_a_fit_does_not_use_an_unfinished_run(unfinished: Path, data: Path, tmp_path: Path, role: str) -> None:
    path, folder = tmp_path / "next.toml", tmp_path / "next"
    path.write_text(role.format(unfinished) + "\n" + RECIPE)
    failed(invoke("fit", "--recipe", path, "--run", folder, "--data", data, "--device", "cpu"), UNFINISHED)
    assert not folder.exists()


def test_an_unfinished_run_is_evaluated(unfinished: Path, data: Path) -> None:
    result = invoke("evaluate", unfinished, "--split", "test", "--data", data)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("test error ")


def test_a_missing_recipe_is_named_with_those_that_exist() -> None:
    failed(invoke("fit", "magic"), "recipes/magic.toml", "the recipes are consistent, mlp, no-penalty, ", ", quick, ")


def test_a_wrong_recipe_is_named_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(RECIPE.replace("epochs = 1", "epochs = 0"))
    failed(invoke("fit", "--recipe", path), str(path), "epochs: ")


def test_resuming_without_a_checkpoint_is_refused(recipe: Path, data: Path, tmp_path: Path) -> None:
    result = invoke("fit", "--recipe", recipe, "--run", tmp_path / "run", "--data", data, "--resume")
    failed(result, str(tmp_path / "run" / CHECKPOINT))


def test_the_error_names_a_run_folder_that_cannot_be_made(recipe: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("by a file")
    failed(invoke("fit", "--recipe", recipe, "--run", tmp_path / "taken", "--data", data), str(tmp_path / "taken"))


def test_a_damaged_checkpoint_is_named(run_folder: Path, data: Path, tmp_path: Path) -> None:
    content = (run_folder / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    failed(invoke("evaluate", tmp_path, "--data", data), str(tmp_path / CHECKPOINT))


def test_an_altered_artifact_is_named(artifact_copy: Path, data: Path) -> None:
    with (artifact_copy / "head.onnx").open("ab") as file:
        file.write(b"\0")
    failed(invoke("evaluate", artifact_copy, "--data", data), str(artifact_copy / "head.onnx"), "altered")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch has CUDA")
def test_a_missing_device_is_refused(run_folder: Path, recipe: Path, data: Path) -> None:
    failed(invoke("evaluate", run_folder, "--data", data, "--device", "cuda"), "device cuda")
    failed(invoke("fit", "--recipe", recipe, "--data", data, "--device", "cuda"), "device cuda")


def test_an_export_does_not_overwrite_a_version(run_folder: Path, data: Path, tmp_path: Path) -> None:
    taken = tmp_path / "digits" / "2"
    taken.mkdir(parents=True)
    command = ("export", run_folder, "--name", "digits", "--version", 2, "--models", tmp_path, "--data", data)
    failed(invoke(*command), str(taken), "never written over")
    assert list(taken.iterdir()) == []


@pytest.mark.parametrize("arguments", [["fly"], ["evaluate", "--split", "fit"], ["fit", "--epochs", "0"], ["--fast"]])
def test_wrong_arguments_are_reported_with_the_usage(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
