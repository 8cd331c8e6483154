"""Rules on code units: posterior collapse and dead units."""

from __future__ import annotations

import math
from collections.abc import Mapping

from aeframe.config.suggested_options import CONSTRAINTS
from aeframe.evaluation.card import Card
from aeframe.evaluation.metrics import COUNTED
from aeframe.monitoring.doctor.rule import FAST, Patient, Rule, Vitals
from aeframe.monitoring.doctor.suggestions import Override, find_valid

SINGLE = 2.0
"""Number of active units at which a larger one helps more than reviving dead units."""
ROOM = 4
"""Times the active units that a sparse code has at least."""


class Collapse(Rule):
    """Rule on posterior collapse: fewer than a quarter of the units are active (Burda et al. 2016), or
    all together carry next to nothing.
    """

    name = "posterior_collapse"
    least = 0.05  # nats for each unit, on average

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.active = 0
        self.kl = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        if (
            "active_units" not in vitals.val or not vitals.has_begun
        ):  # they become active one by one
            return False
        return self._has_collapsed(vitals.val)

    def _has_collapsed(self, metrics: Mapping[str, float]) -> bool:
        units = self.patient.units
        self.active, self.kl = round(metrics["active_units"]), metrics.get("kl", math.inf)
        return self.active < max(1, units / 4) or self.kl < self.least * units

    def describe_symptom(self) -> str:
        units = self.patient.units
        if self.active >= max(1, units / 4):
            nats = f"{units} code units carry {self.kl:.2g} nats in all"
            return f"the posterior has collapsed: {nats}{self.begun}"
        return (
            f"the posterior has collapsed: {units - self.active} of {units} code units carry no "
            f"information about the input{self.begun}"
        )

    def judge_card(self, card: Card) -> bool | None:
        if "active_units" not in card.metrics:
            return None
        return self._has_collapsed(card.metrics)

    def suggest_remedy(self) -> str | None:
        model = self.patient.node["model"]
        beta, epochs = model.get("beta"), self.patient.node["trainer"].get("max_epochs") or 20
        warmup = {"schedule": "warmup", "value": beta, "epochs": max(1, epochs // 2)}
        is_number = not isinstance(beta, Mapping)
        return self.patient.choose_remedy(
            Override("model.beta", 1.0) if is_number and beta and beta > 1 else None,
            self.patient.suggest_measured_noise(),
            Override("model.beta", warmup) if is_number else None,
            Override("model.free_bits", 0.25) if not model.get("free_bits") else None,
            Override("model.latent_dim", max(1, self.active)),
        )


class DeadUnits(Rule):
    """Rule on dead units: far more than by chance, and growing in number, or more than half. For few samples
    fewer are too many, as fewer units have a smaller error.
    """

    name = "dead_units"
    share, growth, most = 0.3, 0.1, 0.5
    wasted = 0.2  # share that is too much for few samples

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.least: float | None = None
        self.least_epoch = 0
        self.dead = self.l0 = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        if "dead" not in vitals.val:
            return False
        self.dead, self.l0 = vitals.val["dead"], vitals.val["l0"]
        if self.least is None or self.dead < self.least:
            self.least, self.least_epoch = self.dead, vitals.epoch
        beyond = self._compute_beyond_chance(vitals.samples)
        return beyond >= self.most or (beyond >= self.share and self._has_grown)

    def _compute_beyond_chance(self, samples: int) -> float:
        """Return the share of dead units beyond chance: a few samples do not reach all units."""
        chance = math.exp(-self.l0 * samples / self.patient.units) if self.l0 else 0.0
        return (self.dead - chance) / max(1 - chance, 1e-9)

    def judge_card(self, card: Card) -> bool | None:
        if "dead" not in card.metrics:
            return None
        self.dead, self.l0 = card.metrics["dead"], card.metrics["l0"]
        samples = min(COUNTED, self.patient.data.spec.samples)
        beyond = self._compute_beyond_chance(samples)
        if beyond >= (self.wasted if self.patient.has_few_samples else self.most):
            return True
        return None if beyond >= self.share else False

    @property
    def _has_grown(self) -> bool:
        return self.least is not None and self.dead - self.least >= self.growth

    def describe_symptom(self) -> str:
        least = self.least or 0.0
        grown = f" ({least:.0%} after epoch {self.least_epoch})" if self._has_grown else ""
        return (
            f"{self.dead:.0%} of {self.patient.units} code units are dead{grown}{self.begun}: "
            "no training sample activates them"
        )

    def _suggest_fewer_units(self) -> str | None:
        """Suggest fewer units, if so few samples cannot use the present ones."""
        patient, overcomplete = self.patient, 2 * self.patient.net.model.inputs
        least = 2 ** math.ceil(math.log2(ROOM * self.l0)) if self.l0 else patient.units
        if 4 * least > patient.units or not patient.has_few_samples or patient.rate > FAST:
            return None
        if 4 * overcomplete <= patient.units:
            return patient.choose_remedy(Override("model.latent_dim", max(least, overcomplete)))
        fewer = Override("model.latent_dim", least)
        freed = Override("model.allow_undercomplete", True)
        if (found := patient.choose_remedy(fewer)) is not None:
            return found
        changed = freed.apply(patient.node)
        is_valid = changed is not None and find_valid(changed, [fewer]) is not None
        return f"{fewer} {freed}" if is_valid else None

    def suggest_remedy(self) -> str | None:
        silent = self.dead > 0.9  # no active units are left to revive the others
        weights = self.patient.suggest_lighter_penalties()
        revive = [self.patient.suggest_constraints(name) for name in CONSTRAINTS["revived units"]]
        larger = [
            self.patient.suggest_scaled(key, 4)
            for key in self.patient.list_options("k", "sparsity")
        ]
        heavy = self.patient.suggest_usual_weights()
        has_cause = silent or any(heavy) or 0 < self.l0 <= SINGLE
        if not has_cause and (fewer := self._suggest_fewer_units()) is not None:
            return fewer
        return self.patient.choose_remedy(
            *(weights if silent else heavy),
            *(larger if 0 < self.l0 <= SINGLE else []),
            *([] if self.patient.net.gives("revived units") else revive),
            *larger,
            self.patient.suggest_scaled("optimizer.lr", 1 / 3),
        )
