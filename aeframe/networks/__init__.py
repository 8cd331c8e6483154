"""Encoders and decoders, sized from the shape of a sample."""

from aeframe.networks.base import Activation, Decoder, Network, Norm
from aeframe.networks.conv import Conv
from aeframe.networks.mlp import MLP

__all__ = ["MLP", "Activation", "Conv", "Decoder", "Network", "Norm"]
