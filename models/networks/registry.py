"""The networks by name."""

from models.artifact import NetworkName
from models.networks.mlp import MLP
from models.networks.odenet import ODENet, StemOnly, StridedODENet
from models.networks.resnet import ResNet

NETWORKS: dict[NetworkName, type[MLP | ResNet | ODENet | StemOnly]] = {
    "mlp": MLP,
    "resnet": ResNet,
    "odenet": ODENet,
    "odenet-strided": StridedODENet,
    "stem-only": StemOnly,
}
