"""Encoders and decoders, sized from the shape of a sample."""

from aeframe.networks.active_units import Active, write_active
from aeframe.networks.automatic import Automatic
from aeframe.networks.conv import Conv
from aeframe.networks.decoder import Decoder, MapDecoder
from aeframe.networks.fully_conv import FullyConv
from aeframe.networks.mlp import MLP, list_linear_layers
from aeframe.networks.network import Activation, Network, Norm

__all__ = [
    "MLP",
    "Activation",
    "Active",
    "Automatic",
    "Conv",
    "Decoder",
    "FullyConv",
    "MapDecoder",
    "Network",
    "Norm",
    "list_linear_layers",
    "write_active",
]
