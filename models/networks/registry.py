"""The network classes by name."""

from models.artifact import NetworkName
from models.networks.mlp import MLP
from models.networks.odenet import ODENet, StemOnly, StridedODENet, WideODENet
from models.networks.resnet import ResNet

NETWORKS: dict[NetworkName, type[MLP | ResNet | ODENet | StemOnly]] = {
    "mlp": MLP,
    "resnet": ResNet,
    "odenet": ODENet,
    "odenet-strided": StridedODENet,
    "odenet-wide": WideODENet,
    "stem-only": StemOnly,
}
