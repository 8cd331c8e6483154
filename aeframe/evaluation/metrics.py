"""Metrics of a whole split, independent of batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.constraints.constraint import Constraint
from aeframe.data import DataModule
from aeframe.data.gaps import keep_present
from aeframe.evaluation.psnr import compute_peak_shares
from aeframe.evaluation.sums import MeanTerm, SquaredError, Variation
from aeframe.evaluation.unit_activity import DeadUnits, PosteriorSpread, UnitActivity
from aeframe.models.output import Output

COUNTED = 10_000
"""Training samples, at most, that say which units are dead: a validation split is too small for it."""


class Metrics(nn.Module):
    """The metrics of one split, for the clean deterministic pass and for the pass as trained.

    peak: the width of the range of stored values, for PSNR, whose errors are in the same units. Names and
    units: mse per pixel in normalized units; psnr (dB); explained_variance 1 - SSE/SST over the whole split;
    l0 active units per sample; dormant their complement as a share; dead the share of units that no training
    sample of up to 10,000 activates; denoised_* from the corrupted input; gain_db the PSNR won over it; loss,
    its terms, kl and negative_elbo in nats per sample; active_units those whose posterior mean varies by more
    than 0.01 (Burda et al. 2016). added: metrics of plug-ins, which get the clean outputs.
    """

    def __init__(
        self, net: ConstrainedAutoencoder, peak: float, added: Mapping[str, Metric] | None = None
    ) -> None:
        super().__init__()
        model = net.model
        self.sparse, self.corrupts = net.is_sparse, net.has_corruption
        self.gains = net.target_normalization is None  # over the corrupted target
        self.stochastic = net.is_stochastic
        self.peak = peak
        self.split: str | None = None
        self.clean = SquaredError()
        self.variation = Variation(model.outputs, gaps=net.written_normalization.has_gaps)
        self.variations: dict[str, Tensor] = {}  # of known splits, which do not change
        self.units, self.dead = UnitActivity(model.latent_dim), DeadUnits(model.latent_dim)
        names = [*net.term_names, "loss", *(["kl", "negative_elbo"] if self.stochastic else [])]
        self.terms = nn.ModuleDict({name: MeanTerm() for name in names})
        self.wholes = nn.ModuleDict()  # means of units, for penalties that are functions of them
        self.added = nn.ModuleDict(dict(added or {})).requires_grad_(False)
        self._net = (net,)  # in a tuple, so that it is not registered here
        for name, part in net.parts:
            if type(part).unit_means is not Constraint.unit_means:
                self.wholes[name] = MeanTerm(model.latent_dim)
        if self.corrupts:
            self.corrupted, self.denoised = SquaredError(), SquaredError()
        if self.stochastic:
            self.posterior = PosteriorSpread(model.latent_dim)

    @torch.no_grad()
    def update(self, clean: Output, as_trained: Output) -> None:
        """Add one batch."""
        x, present = clean.x.flatten(1), clean.present
        present = None if present is None else present.flatten(1)
        each = self.shares if self._net[0].written_normalization.scale.ndim else None
        self.clean.update(clean.reconstruction.flatten(1), x, each, present)
        if self.split is None or self.split not in self.variations:
            self.variation.update(x, present)
        if self.sparse:
            self.units.update(clean.code)
        if self.corrupts:
            from_corrupted = as_trained.reconstruction[: len(x)].flatten(1)
            if self.gains:
                self.corrupted.update(as_trained.corrupted.flatten(1), x, each, present)
            self.denoised.update(from_corrupted, x, each, present)
        if self.stochastic:
            self.posterior.update(clean.code.pre)
        for metric in self.added.values():
            metric.update(clean)  # type: ignore[operator]
        self._update_terms(as_trained, len(x))

    @torch.no_grad()
    def count_dead(self, data: DataModule, *, rank: int = 0, world: int = 1) -> None:
        """Find the units that no training sample activates, of up to COUNTED spread over the split.

        rank, world: each of `world` processes looks at equally many of them.
        """
        if not self.sparse:
            return
        (net,) = self._net
        count = max(1, min(COUNTED, len(data.splits["train"])) // world)
        for x in data.some("train", count * world, net.normalization, net.most_rows, rank, world):
            self.dead.update(net.encode(x))
            if world == 1 and self.dead.is_over:
                return

    def _update_terms(self, output: Output, count: int) -> None:
        values = {name: term.value for name, term in output.terms.items()}
        values["loss"] = output.loss
        if output.code.posterior is not None:
            kl = output.code.posterior.kl().sum(1).mean()
            values |= {"kl": kl, "negative_elbo": self._compute_nll(output) + kl}
        for name, value in values.items():
            self.terms[name].update(value, count)  # type: ignore[operator]
        for name, means in self.wholes.items():
            means.update(self._get_part(name).unit_means(output.code), count)  # type: ignore[operator]

    def _get_part(self, name: str) -> Constraint:
        part = self._net[0].constraints[name]
        assert isinstance(part, Constraint)
        return part

    def _compute_nll(self, output: Output) -> Tensor:
        """Compute -log p(x | z), averaged over samples of z, without emphasis."""
        repeats = len(output.parameters) // len(output.x)
        repeated = (repeats, *[1] * (output.x.ndim - 1))
        nll = self._net[0].model.likelihood.nll(output.parameters, output.x.repeat(repeated))
        present = None if output.present is None else output.present.repeat(repeated)
        return keep_present(nll, present).flatten(1).sum(1).mean()

    def compute(self) -> dict[str, float]:
        """Return every metric by name."""
        mse, psnr = self._compute_errors(self.clean)
        found = {"mse": mse, "psnr": psnr, "explained_variance": self._compute_explained(mse)}
        if self.sparse:
            found |= self.units.compute()
            if self.dead.update_called:
                found["dead"] = self.dead.compute()
        if self.corrupts:
            if self.gains:
                _, found["corrupted_psnr"] = self._compute_errors(self.corrupted)
            found["denoised_mse"], found["denoised_psnr"] = self._compute_errors(self.denoised)
            if self.gains:
                found["gain_db"] = found["denoised_psnr"] - found["corrupted_psnr"]
        if self.stochastic:
            found["active_units"] = self.posterior.compute()
        found |= {name: mean.compute() for name, mean in self.terms.items()}  # type: ignore[operator]
        for name, means in self.wholes.items():
            part = self._get_part(name)
            whole = part.penalty_of(means.compute().float())  # type: ignore[operator]
            weight = part.weight_at(self._net[0].clock)
            found["loss"] = found["loss"] + weight * (whole - found[name])
            found[name] = whole
        found |= {name: metric.compute() for name, metric in self.added.items()}  # type: ignore[operator]
        return {name: float(value) for name, value in found.items()}

    @property
    def shares(self) -> Tensor:
        """Return `peak_shares` of the network as it is loaded."""
        net = self._net[0]
        return compute_peak_shares(net.written_normalization, self.peak, net.model.written_shape)

    def _compute_errors(self, error: SquaredError) -> tuple[Tensor, Tensor]:
        """Return the mean squared error in normalized units, and the PSNR in dB."""
        mean, weighted = error.compute()
        shares = self.shares
        return mean, -10 * torch.log10(weighted if shares.ndim else mean * shares)

    def _compute_explained(self, mse: Tensor) -> Tensor:
        """Compute 1 - SSE / SST; 0 if nothing varies.

        torchmetrics' R2Score would count the errors of (nearly) constant features as 0.
        """
        variation = self.variations.get(self.split or "")
        if variation is None:
            variation = self.variation.compute()
        if self.split is not None:
            self.variations[self.split] = variation
        return torch.where(variation > 0, 1 - mse / variation, 0.0)

    def reset(self, split: str | None = None) -> None:
        """Begin a new split. A split with a name has the same samples each time."""
        self.split = split
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()
