"""Plain module: a trained network as a torch module, for your own training code."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from aeframe.constraints.constrained import ConstrainedAutoencoder


class PlainEncoder(nn.Module):
    """Network from samples [N, *shape], in the units of the training data, to codes [N, m]."""

    def __init__(self, net: ConstrainedAutoencoder) -> None:
        super().__init__()
        self.net = deepcopy(net)
        del self.net.model.decoder

    def forward(self, x: Tensor) -> Tensor:
        return self.net.encode(self.net.normalization(x)).value


class PlainDecoder(nn.Module):
    """Network from codes [N, m] to samples (or targets) [N, *shape], in the units of the training data."""

    def __init__(self, net: ConstrainedAutoencoder) -> None:
        super().__init__()
        self.net = deepcopy(net)
        del self.net.model.encoder

    def forward(self, z: Tensor) -> Tensor:
        return self.net.written_normalization.inverse(self.net.model.reconstruct(z))


class PlainModule(nn.Module):
    """A copy of a trained autoencoder, with `encoder` and `decoder` as modules of their own.

    Samples are floats in the units of the training data, and normalization is included. Constraints act on
    the code as after training: a topk code has k active units. Gradients flow, and nothing is rounded. The
    copy is in evaluation mode, its parts share no weights, and training it leaves the run as it is.
    """

    def __init__(self, net: ConstrainedAutoencoder) -> None:
        super().__init__()
        self.encoder, self.decoder = PlainEncoder(net), PlainDecoder(net)
        self.eval().requires_grad_()
        for part in (self.encoder, self.decoder):  # a learned variance has no part in the result
            part.net.model.likelihood.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))
