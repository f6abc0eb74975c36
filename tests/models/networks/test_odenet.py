"""The ODE-Net and its layers: their arithmetic, their shapes, and the independence of the images in a batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models.networks.layers import CHANNELS, ConcatConv, GroupNorm, Normalisation, Normalise
from models.networks.odenet import DEFAULT_SOLVER, WIDE, Dynamics, ODENet, StridedODENet, WideODENet
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome, Solution, solve

NORMALISATION = Normalisation(mean=0.25, std=0.5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


@pytest.fixture
def network() -> ODENet:
    """A network with strong dynamics: its norms have scales above one, so its solves take more than one step."""
    network = ODENet(NORMALISATION).eval().requires_grad_(False)
    for module in network.dynamics.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, mean=1.5, std=0.5)
            nn.init.normal_(module.bias, std=0.5)
    return network


def random_images(rows: int) -> Tensor:
    """Pictures of noise."""
    return torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8)


def settings(method: str, tolerance: float, steps: int) -> SolverSettings:
    """The setting of a method: the tolerance for an adaptive method, the steps for a fixed-step method."""
    if METHODS[method].adaptive:
        return SolverSettings.adaptive(method, tolerance)
    return SolverSettings(method=method, steps=steps)


def solution_of(network: ODENet, images: Tensor, solver: SolverSettings) -> Solution:
    """The result of the solve between stem and head."""
    return solve(network.step(solver.method), network.stem(images), **solver.arguments._asdict())


def random_norm() -> GroupNorm:
    """A group normalisation with random scales and shifts."""
    norm = GroupNorm(8, 16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def test_normalise_uses_the_mean_and_deviation_of_the_training_pixels() -> None:
    images = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert_close(Normalise(NORMALISATION)(images), torch.tensor([[[[-0.5, 1.5]]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalise_gives_the_same_result_for_bytes_and_floats(dtype: torch.dtype) -> None:
    images = random_images(3)
    normal = Normalise(NORMALISATION)(images.to(dtype))
    assert normal.dtype == dtype
    assert normal.shape == (3, 1, 28, 28)
    assert_close(normal.float(), Normalise(NORMALISATION)(images))


@pytest.mark.parametrize("rows", [1, 5])
def test_group_norm_equals_the_group_norm_of_torch(rows: int) -> None:
    norm, x = random_norm(), 3 * torch.randn(rows, 16, 6, 5) + 1
    assert_close(norm(x), F.group_norm(x, 8, norm.weight, norm.bias))


@pytest.mark.parametrize("rows", [2, 5])
def test_group_norm_keeps_its_values_when_exported(rows: int) -> None:
    """The exported graph contains a layer normalisation instead."""
    norm, x = random_norm(), 3 * torch.randn(rows, 16, 6, 5) + 1
    program = torch.export.export(norm, (x,))
    assert torch.ops.aten.layer_norm.default in {node.target for node in program.graph.nodes}
    assert_close(program.module()(x), norm(x), rtol=1e-5, atol=1e-5)


def test_dynamics_keep_their_values_when_exported_for_any_number_of_rows(network: ODENet) -> None:
    t, z = torch.rand(3), torch.randn(3, CHANNELS, 6, 6)
    rows = {0: torch.export.Dim("rows")}
    exported = torch.export.export(network.dynamics, (t, z), dynamic_shapes=(rows, rows)).module()
    t, z = torch.rand(7), torch.randn(7, CHANNELS, 6, 6)
    assert_close(exported(t, z), network.dynamics(t, z), rtol=1e-5, atol=1e-5)


def test_concat_conv_equals_a_convolution_with_a_time_channel() -> None:
    layer, t, x = ConcatConv(4), torch.tensor([0.0, 0.3, 1.0]), torch.randn(3, 4, 6, 6)
    assert layer.conv.bias is not None
    whole = nn.Conv2d(5, 4, 3, padding=1)
    whole.load_state_dict({"weight": torch.cat((layer.time_weight, layer.conv.weight), dim=1), "bias": layer.conv.bias})
    times = t.view(3, 1, 1, 1).expand(3, 1, 6, 6)
    assert_close(layer(t, x), whole(torch.cat((times, x), dim=1)), rtol=1e-5, atol=1e-5)


def test_concat_conv_has_the_initial_weights_of_a_convolution_with_a_time_channel() -> None:
    """The weights are uniform, and their bound counts the time channel."""
    layer, bound = ConcatConv(64), 1 / (65 * 9) ** 0.5
    parameters = dict(layer.named_parameters())
    assert set(parameters) == {"conv.weight", "conv.bias", "time_weight"}
    for name, parameter in parameters.items():
        assert parameter.abs().max() <= bound, name
        assert parameter.abs().max() > 0.9 * bound, name


def test_dynamics_depend_on_the_time(network: ODENet) -> None:
    z = torch.randn(1, CHANNELS, 6, 6)
    early, late = network.dynamics(torch.tensor([0.0, 1.0]), z.expand(2, -1, -1, -1))
    assert (early - late).abs().max() > 0.01


def test_the_state_keeps_its_shape(network: ODENet) -> None:
    state = network.stem(random_images(3))
    assert state.shape == (3, CHANNELS, 6, 6)
    assert network.dynamics(torch.zeros(3), state).shape == state.shape


def test_the_strided_stem_has_the_same_output_shape_as_the_papers_stem(network: ODENet) -> None:
    """All other parameters of the two networks have the same shapes, too."""
    strided = StridedODENet(NORMALISATION)
    assert strided.stem(random_images(3)).shape == (3, CHANNELS, 6, 6)
    assert WideODENet(NORMALISATION).stem(random_images(3)).shape == (3, WIDE, 6, 6)
    others = {name: weight.shape for name, weight in network.state_dict().items() if not name.startswith("stem")}
    assert others == {name: w.shape for name, w in strided.state_dict().items() if not name.startswith("stem")}


@pytest.mark.parametrize(
    "solver", [settings("rk4", 0, 2), SolverSettings(method="bosh3", rtol=1e-1, atol=1e-3)], ids=str
)
def test_the_logits_are_the_head_applied_to_the_end_of_the_solve(network: ODENet, solver: SolverSettings) -> None:
    images = random_images(3)
    assert_close(network(images, solver), network.head(solution_of(network, images, solver).z), rtol=0, atol=0)


def test_the_default_solver_is_dopri5_with_tolerance_1e_3(network: ODENet) -> None:
    images = random_images(2)
    assert SolverSettings.adaptive("dopri5", 1e-3) == DEFAULT_SOLVER
    assert_close(network(images), network(images, DEFAULT_SOLVER), rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_solve_uses_the_requested_method(network: ODENet, method: str) -> None:
    """A fixed-step method takes the requested steps, and the observer sees every attempt of any method."""
    images, solver, attempts = random_images(2), settings(method, 1e-2, 3), list[Attempt]()
    network(images, solver, observe=lambda rows, t, h, tried: attempts.append(tried))
    solution = solution_of(network, images, solver)
    assert solution.outcome.tolist() == [Outcome.converged] * 2
    assert len(attempts) == solution.steps.max()
    if METHODS[method].adaptive:
        assert (solution.error > 0).all()
    else:
        assert solution.steps.tolist() == [3, 3]


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5"])
def test_a_tighter_tolerance_costs_more_and_is_more_accurate(network: ODENet, method: str) -> None:
    images = random_images(2)
    loose, tight = (SolverSettings.adaptive(method, tolerance) for tolerance in (1e-1, 1e-3))
    assert (solution_of(network, images, loose).nfe < solution_of(network, images, tight).nfe).all()
    best = network(images, SolverSettings.adaptive("dopri5", 1e-5))
    assert (network(images, tight) - best).abs().max() < (network(images, loose) - best).abs().max()


@pytest.mark.parametrize(
    "solver",
    [
        SolverSettings(method="euler", steps=4),
        SolverSettings(method="rk4", steps=2),
        SolverSettings.adaptive("heun2", 1e-2),
        SolverSettings.adaptive("bosh3", 1e-2),
        SolverSettings.adaptive("dopri5", 1e-1),
        SolverSettings.adaptive("dopri5", 1e-3),
        SolverSettings.adaptive("tsit5", 1e-3),
    ],
    ids=str,
)
def test_an_image_has_the_same_solution_alone_and_in_any_batch(network: ODENet, solver: SolverSettings) -> None:
    """The other images of the batch change neither the final state of an image nor its number of steps."""
    images = random_images(7)
    images[::2] //= 16  # half of the images are dark, so the rows take different steps
    whole = solution_of(network, images, solver)
    for rows in ([0], [3], [4, 1], [6, 5, 4, 3, 2, 1, 0]):
        part = solution_of(network, images[rows], solver)
        assert_close(network.head(part.z), network.head(whole.z[rows]), rtol=0, atol=1e-4)
        assert torch.equal(part.steps, whole.steps[rows])
        assert torch.equal(part.nfe, whole.nfe[rows])


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_autocast_keeps_the_state_in_single_precision(network: ODENet, method: str, adjoint: bool) -> None:
    images, solver, attempts = random_images(2), settings(method, 1e-1, 2), list[Attempt]()
    with torch.autocast("cpu", torch.bfloat16):
        assert network.stem(images).dtype == torch.bfloat16, "this test needs autocast to change the stem's type"
        logits = network(images, solver, adjoint=adjoint, observe=lambda rows, t, h, tried: attempts.append(tried))
    assert {tried.z.dtype for tried in attempts} == {tried.error.dtype for tried in attempts} == {torch.float32}
    assert_close(logits.float(), network(images, solver), rtol=0.1, atol=0.1)


def test_double_precision_is_kept(network: ODENet) -> None:
    images, solver = random_images(2).double(), SolverSettings.adaptive("dopri5", 1e-1)
    logits, solution = network.double()(images, solver), solution_of(network, images, solver)
    assert logits.dtype == solution.z.dtype == solution.error.dtype == torch.float64


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_every_parameter_has_a_gradient(method: str, adjoint: bool) -> None:
    network = ODENet(NORMALISATION)
    logits = network(random_images(4), settings(method, 1e-1, 2), adjoint=adjoint)
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])), parameters)
    for name, gradient in zip(names, gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert (gradient != 0).any(), name


def test_the_adjoint_does_not_change_the_logits(network: ODENet) -> None:
    images, solver = random_images(2), SolverSettings.adaptive("bosh3", 1e-2)
    assert torch.equal(network(images, solver, adjoint=True), network(images, solver))


def test_a_step_uses_the_dynamics_of_the_network(network: ODENet) -> None:
    step = network.step("bosh3")
    assert isinstance(step.dynamics, Dynamics)
    assert step.dynamics is network.dynamics
    assert step.tableau is METHODS["bosh3"]
    assert step.t1 == 1
