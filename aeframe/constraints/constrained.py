"""The autoencoder that is trained: a model with its data normalization and its constraints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aeframe.constraints.constraint import Constraint, Pass
from aeframe.core.noise import Noise
from aeframe.core.part import Word
from aeframe.core.schedules import Clock, find_schedules
from aeframe.data import Normalization
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.output import Code, Output, Term

LARGE = 2**19  # elements of a layer's output in a batch without gradients
REFINED = 2
"""Further passes of a denoising network, in which its reconstructions stand in place of gaps. Networks that
are not trained to fill drift away in them.
"""
HOOKS = (
    *("corrupt", "constrain", "perturb", "penalty"),
    *("observe", "restart", "before_step", "after_step"),
)


class ConstrainedAutoencoder(nn.Module):
    """A model of any variant with any constraints: corrupt -> encode -> constrain (-> perturb) -> decode
    -> loss.

    constraints: by name, applied in this order. clock: how far training is, for their schedules.
    Raw data enters through `normalization`; all else is in normalized units. target_normalization: of targets
    that are not the samples themselves; None without such targets.
    Raises TypeError for a constraint whose constructor sets a flag of earlier versions.
    """

    def __init__(
        self,
        model: Autoencoder,
        constraints: Mapping[str, Constraint],
        normalization: Normalization,
        target_normalization: Normalization | None = None,
    ) -> None:
        super().__init__()
        self.model, self.normalization = model, normalization
        self.target_normalization = target_normalization
        self.constraints = nn.ModuleDict(dict(constraints))
        self._having = {hook: self._list_having(hook) for hook in HOOKS}
        self.clock = Clock()
        self.schedules = {f"model.{k}": v for k, v in find_schedules(model).items()}
        for name, part in constraints.items():
            part.reject_former_options()
            self.schedules |= {f"constraint.{name}.{k}": v for k, v in find_schedules(part).items()}

    @property
    def parts(self) -> list[tuple[str, Constraint]]:
        """List the constraints with their names, in order."""
        return list(self.constraints.items())  # type: ignore[arg-type]

    def _list_having(self, hook: str) -> list[tuple[str, Constraint]]:
        default = getattr(Constraint, hook)
        return [part for part in self.parts if getattr(type(part[1]), hook) is not default]

    def list_having(self, hook: str) -> list[tuple[str, Constraint]]:
        """List the constraints that override this hook, with their names, in order."""
        return self._having[hook]

    def gives(self, word: Word) -> bool:
        """Check whether a constraint gives this word (see `aeframe.core.part`)."""
        return any(word in part.gives for _, part in self.parts)

    @property
    def written_normalization(self) -> Normalization:
        """Return the normalization of what the network writes: of the targets, or of the samples."""
        return self.target_normalization or self.normalization

    @property
    def has_corruption(self) -> bool:
        """Check whether training corrupts the input."""
        return self.gives("corrupted input")

    @property
    def is_sparse(self) -> bool:
        """Check whether a constraint makes few units active at once."""
        return self.gives("sparsity")

    @property
    def is_stochastic(self) -> bool:
        """Check whether the code is drawn from a posterior."""
        return "posterior" in self.model.gives

    @property
    def step(self) -> float | None:
        """Return the step of a constraint that rounds the code to its multiples outside training, if any."""
        return next((part.rounds_to for _, part in self.parts if part.rounds_to is not None), None)

    @property
    def needs_derivatives(self) -> bool:
        """Check whether a term of the loss is itself a derivative, in validation as well."""
        return any(part.needs_derivatives for _, part in self.parts)

    @property
    def most_rows(self) -> int:
        """Return the largest batch, without gradients, whose activations stay small in each layer; 0 where
        a penalty needs derivatives.
        """
        model = self.model
        widest = max(model.inputs, model.outputs, model.latent_dim, *model.layer_sizes) * model.k
        return 0 if self.needs_derivatives else LARGE // widest

    @property
    def term_names(self) -> list[str]:
        """List the names of the terms of the loss."""
        return [
            *self.model.term_names(vars(self.model)),
            *(name for name, part in self.parts if "penalty" in part.gives),
        ]

    @property
    def lone_term(self) -> str | None:
        """Return the name of the term that alone is the loss, whose curve would be drawn twice."""
        names = self.term_names
        return names[0] if len(names) == 1 else None

    @property
    def changing(self) -> list[str]:
        """List the keys of schedules that have not ended. The objective still changes, so values from
        different epochs cannot be compared.
        """
        return [key for key, value in self.schedules.items() if not value.has_ended(self.clock)]

    def encode(self, x: Tensor, noise: Noise | None = None) -> Code:
        """Return the constrained code of normalized x, which may have gaps. It is drawn from the posterior
        only with `noise`.
        """
        code = self.model.encode(self.normalization.fill(x), noise)
        for _, part in self.list_having("constrain"):
            code = part.constrain(code, self.clock)
        if code.stored is None and code.kept is None:
            return code._replace(stored=code.value)  # computed once for all readers
        return code

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode and decode normalized x without corruption or sampling, [B, *shape of a target]."""
        return self.model.likelihood.mean(self.model.decode_code(self.encode(x)))

    def impute(self, x: Tensor) -> Tensor:
        """Reconstruct normalized x, [B, *shape], for values in place of its gaps.

        A network that was trained on corrupted input reads what it filled in twice more.
        """
        restored, present = self.reconstruct(x), self.normalization.find_present(x)
        if present is not None and self.has_corruption and not bool(present.all()):
            for _ in range(REFINED):
                restored = self.reconstruct(torch.where(present, x, restored))
        return restored

    def normalize_target(self, target: Tensor | None) -> Tensor | None:
        """Normalize stored targets [B, *shape]; None for a network that has the samples as its targets."""
        if self.target_normalization is None:
            return None
        assert target is not None, "the network was trained with targets"
        return self.target_normalization(target)

    def forward(
        self, x: Tensor, *, noise: Noise, as_trained: bool = True, target: Tensor | None = None
    ) -> Output:
        """Run one pass over normalized x and compute every term of the loss.

        as_trained: with corruption and sampling; else the clean and deterministic pass. target: normalized,
        for a network with targets. Without, it is the clean x in both, but for its gaps.
        """
        assert (target is None) == (self.target_normalization is None)
        goal, normalization = (x if target is None else target), self.written_normalization
        present, clean = normalization.find_present(goal), normalization.fill(goal)
        corrupted, mask = (clean if target is None else self.normalization.fill(x)), None
        weight = None if present is None else present.to(x.dtype)
        if as_trained and target is None:
            corrupted, mask, weight = self.corrupt(x, noise)
        elif as_trained:  # the weights of corrupted elements are not those of the target's
            corrupted, mask, _ = self.corrupt(x, noise)
        draws = as_trained and self.is_stochastic
        code = self.encode(corrupted, noise.derive_stream("code") if draws else None)
        if self.training:
            for name, part in self.list_having("perturb"):
                code = part.perturb(code, noise.derive_stream(f"{name}.code"), self.clock)
        parameters = self.model.decode_code(code)
        terms = self.model.terms(clean, code, parameters, weight, self.clock)
        terms |= self._compute_penalties(clean, corrupted, code, parameters, noise, present)
        mean = self.model.likelihood.mean
        return Output(clean, corrupted, mask, code, parameters, mean, terms, present)

    def corrupt(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Corrupt normalized x as training does. Returns the corrupted x, the mask of chosen elements, and
        their weights in the reconstruction. Gaps are neither corrupted nor chosen, and have no weight.
        """
        present = self.normalization.find_present(x)
        x = self.normalization.fill(x)
        corrupted, mask, weight = x, None, None
        for name, part in self.list_having("corrupt"):
            change = part.corrupt(corrupted, noise.derive_stream(name), self.clock)
            if change is None:
                continue
            corrupted = change.x
            mask = change.mask if mask is None else mask | change.mask
            emphasis = part.emphasis(change.mask)
            if emphasis is not None:
                weight = emphasis if weight is None else torch.maximum(weight, emphasis)
        if present is None:
            return corrupted, mask, weight
        weight = torch.ones_like(x) if weight is None else weight
        mask = None if mask is None else mask & present
        return torch.where(present, corrupted, x), mask, weight * present

    def _compute_penalties(
        self,
        x: Tensor,
        corrupted: Tensor,
        code: Code,
        parameters: Tensor,
        noise: Noise,
        present: Tensor | None,
    ) -> dict[str, Term]:
        terms = {}
        for name, part in self.list_having("penalty"):
            seen = Pass(
                x=x,
                corrupted=corrupted,
                code=code,
                parameters=parameters,
                model=self.model,
                encode=self.encode,
                noise=noise.derive_stream(f"{name}.penalty"),
                clock=self.clock,
                present=present,
            )
            penalty = part.penalty(seen)
            if penalty is not None:
                terms[name] = Term(penalty, part.weight_at(self.clock))
        return terms

    def set_clock(self, clock: Clock) -> None:
        """Set how far training is."""
        vars(self)["clock"] = clock  # nn.Module.__setattr__ is slow, and this runs in every step

    def observe(self, output: Output) -> None:
        """Let the constraints update their statistics after a training step."""
        if parts := self.list_having("observe"):
            with torch.no_grad():
                for _, part in parts:
                    part.observe(output, self.clock)

    def restart(self, units: Tensor, live: Tensor) -> None:
        """Tell the constraints which units are re-initialized."""
        for _, part in self.list_having("restart"):
            part.restart(units, live)

    def get_extra_state(self) -> Tensor:
        """Save how far training was: a loaded model's schedules continue from there."""
        return torch.tensor([self.clock.step, self.clock.epoch], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.clock = Clock(int(state[0]), float(state[1]))
