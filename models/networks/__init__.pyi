"""The names of this folder that are stable, and their homes; each is imported at first use."""

from .resnet import NETWORKS as NETWORKS
from .resnet import ResNetConfig as ResNetConfig
from .resnet import SpikingResNet as SpikingResNet
