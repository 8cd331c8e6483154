"""The four variants."""

from aeframe.models.autoencoder import Autoencoder, Setting
from aeframe.models.denoising import Denoising
from aeframe.models.output import Code, Output, Posterior, Term
from aeframe.models.sparse import Sparse
from aeframe.models.undercomplete import Undercomplete
from aeframe.models.variational import Variational

__all__ = [
    "Autoencoder",
    "Code",
    "Denoising",
    "Output",
    "Posterior",
    "Setting",
    "Sparse",
    "Term",
    "Undercomplete",
    "Variational",
]
