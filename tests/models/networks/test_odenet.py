"""The network and its layers: their arithmetic, their shapes, and that every image is classified on its own."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models.networks.layers import ConcatConv, GroupNorm, Normalisation, Normalise
from models.networks.odenet import CHANNELS, Dynamics, ODENet
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome

NORMALISATION = Normalisation(mean=0.25, std=0.5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


@pytest.fixture
def network() -> ODENet:
    """A network whose dynamics matter: of norms scaled beyond one, its solves take more than one step."""
    network = ODENet(NORMALISATION).eval().requires_grad_(False)
    for module in network.dynamics.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, mean=1.5, std=0.5)
            nn.init.normal_(module.bias, std=0.5)
    return network


def random_images(rows: int) -> Tensor:
    """Pictures of noise."""
    return torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8)


def random_norm() -> GroupNorm:
    """A group normalisation whose scale and shift are not those of a new one."""
    norm = GroupNorm(8, 16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def test_normalise_scales_by_the_training_pixels() -> None:
    images = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert_close(Normalise(NORMALISATION)(images), torch.tensor([[[[-0.5, 1.5]]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalise_takes_bytes_and_floats_alike(dtype: torch.dtype) -> None:
    images = random_images(3)
    normal = Normalise(NORMALISATION)(images.to(dtype))
    assert normal.dtype == dtype
    assert normal.shape == (3, 1, 28, 28)
    assert_close(normal.float(), Normalise(NORMALISATION)(images))


@pytest.mark.parametrize("rows", [1, 5])
def test_group_norm_is_torchs_own(rows: int) -> None:
    norm, x = random_norm(), 3 * torch.randn(rows, 16, 6, 5) + 1
    assert_close(norm(x), F.group_norm(x, 8, norm.weight, norm.bias))


@pytest.mark.parametrize("rows", [2, 5])
def test_group_norm_keeps_its_values_when_exported(rows: int) -> None:
    """Although it is then a layer normalisation."""
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


def test_concat_conv_convolves_the_time_as_a_further_channel() -> None:
    layer, t, x = ConcatConv(4), torch.tensor([0.0, 0.3, 1.0]), torch.randn(3, 4, 6, 6)
    assert layer.conv.bias is not None
    whole = nn.Conv2d(5, 4, 3, padding=1)
    whole.load_state_dict({"weight": torch.cat((layer.time_weight, layer.conv.weight), dim=1), "bias": layer.conv.bias})
    times = t.view(3, 1, 1, 1).expand(3, 1, 6, 6)
    assert_close(layer(t, x), whole(torch.cat((times, x), dim=1)), rtol=1e-5, atol=1e-5)


def test_concat_conv_begins_as_a_whole_convolution_would() -> None:
    """Uniform, within a bound that counts the channel of the time."""
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


def test_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in ODENet(NORMALISATION).parameters()) == 208_266


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("rows", [1, 3])
def test_shapes(classes: int, rows: int) -> None:
    network = ODENet(NORMALISATION, classes)
    images = random_images(rows)
    logits, solution = network(images, "heun2", tolerance=0.1)
    state = network.stem(images)
    assert state.shape == solution.z.shape == (rows, CHANNELS, 6, 6)
    assert network.dynamics(torch.zeros(rows), state).shape == state.shape
    assert logits.shape == (rows, classes)
    assert solution.steps.shape == solution.error.shape == (rows,)


def test_bytes_and_floats_are_classified_alike(network: ODENet) -> None:
    images = random_images(3)
    assert_close(network(images)[0], network(images.float())[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_applied_as_asked(network: ODENet, method: str) -> None:
    """A fixed number of steps, or as many as the tolerance takes."""
    attempts: list[Attempt] = []
    _, solution = network(
        random_images(2), method, tolerance=1e-2, steps=3, observe=lambda rows, t, h, tried: attempts.append(tried)
    )
    assert solution.outcome.tolist() == [Outcome.converged] * 2
    assert len(attempts) == solution.steps.max()
    if METHODS[method].adaptive:
        assert (solution.error > 0).all()
    else:
        assert solution.steps.tolist() == [3, 3]


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5"])
def test_a_tighter_tolerance_costs_more_and_errs_less(network: ODENet, method: str) -> None:
    images = random_images(2)
    best, _ = network(images, "dopri5", tolerance=1e-5)
    loose, cheap = network(images, method, tolerance=1e-1)
    tight, dear = network(images, method, tolerance=1e-3)
    assert (cheap.nfe < dear.nfe).all()
    assert (tight - best).abs().max() < (loose - best).abs().max()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("euler", {"steps": 4}),
        ("rk4", {"steps": 2}),
        ("heun2", {"tolerance": 1e-2}),
        ("bosh3", {"tolerance": 1e-2}),
        ("dopri5", {"tolerance": 1e-1}),
        ("dopri5", {"tolerance": 1e-3}),
        ("tsit5", {"tolerance": 1e-3}),
    ],
)
def test_an_image_is_classified_alike_alone_and_in_any_batch(
    network: ODENet, method: str, options: dict[str, Any]
) -> None:
    """Its neighbours change neither its logits nor the steps that it takes."""
    images = random_images(7)
    images[::2] //= 16  # half of them dim, so that not all rows take the same steps
    logits, solution = network(images, method, **options)
    for rows in ([0], [3], [4, 1], [6, 5, 4, 3, 2, 1, 0]):
        fewer, theirs = network(images[rows], method, **options)
        assert_close(fewer, logits[rows], rtol=0, atol=1e-4)
        assert torch.equal(theirs.steps, solution.steps[rows])
        assert torch.equal(theirs.nfe, solution.nfe[rows])


@pytest.mark.parametrize("method", METHODS)
def test_autocast_keeps_the_state_in_single_precision(network: ODENet, method: str) -> None:
    images = random_images(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.stem(images).dtype == torch.bfloat16, "the case is not the one it is meant to be"
        logits, solution = network(images, method, tolerance=1e-1, steps=2)
    assert solution.z.dtype == solution.error.dtype == torch.float32
    exact, _ = network(images, method, tolerance=1e-1, steps=2)
    assert_close(logits.float(), exact, rtol=0.1, atol=0.1)


def test_double_precision_is_kept(network: ODENet) -> None:
    logits, solution = network.double()(random_images(2).double(), tolerance=1e-1)
    assert logits.dtype == solution.z.dtype == solution.error.dtype == torch.float64


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_every_parameter_learns(method: str) -> None:
    network = ODENet(NORMALISATION)
    logits, _ = network(random_images(4), method, tolerance=1e-1)
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])), parameters)
    for name, gradient in zip(names, gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert (gradient != 0).any(), name


def test_step_is_of_the_networks_own_dynamics(network: ODENet) -> None:
    step = network.step("bosh3")
    assert isinstance(step.dynamics, Dynamics)
    assert step.dynamics is network.dynamics
    assert step.tableau is METHODS["bosh3"]
    assert step.t1 == 1
