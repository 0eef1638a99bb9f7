"""The stable names of this folder and their modules; each is imported at first use."""

from .resnet import NETWORKS as NETWORKS
from .resnet import ResNetConfig as ResNetConfig
from .resnet import SpikingResNet as SpikingResNet
