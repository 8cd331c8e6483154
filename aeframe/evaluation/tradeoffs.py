"""Trade-offs between the error and the cost of the code: no job is the best in both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aeframe.core.strict_json import parse_number

if TYPE_CHECKING:
    from aeframe.constraints.constrained import ConstrainedAutoencoder


@dataclass(frozen=True)
class Trade:
    """Error and price of a run, from its validation.

    keys: options that trade one for the other. error, price: names of the two metrics. values: theirs, less
    is better.
    """

    keys: tuple[str, ...]
    error: str
    price: str
    values: tuple[float, float]

    @classmethod
    def read_from(cls, net: ConstrainedAutoencoder, validation: Mapping[str, float]) -> Trade:
        """Read both sides of a trained network, given the metrics of its validation."""
        keys = [f"model.{key}" for key in net.model.trades]
        keys += [f"constraint.{name}.{key}" for name, part in net.parts for key in part.trades]
        error = "denoised_mse" if "denoised_mse" in validation else "mse"
        price = _name_price(net)
        values = validation[error], validation.get(price, net.model.latent_dim)
        return cls(tuple(keys), error, price, values)

    @classmethod
    def read(cls, node: Any) -> Trade | None:
        """Read the result of as_dict(); None stays None. Raises the errors of a wrong mapping."""
        if node is None:
            return None
        error, price = (parse_number(value) for value in node["values"])
        if error is None or price is None:
            return None
        return cls(
            tuple(map(str, node["keys"])), str(node["error"]), str(node["price"]), (error, price)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self)

    def is_beaten_by(self, other: Trade) -> bool:
        """Check whether another is nowhere worse, and somewhere better."""
        same = (self.error, self.price) == (other.error, other.price)
        nowhere_worse = all(a <= b for a, b in zip(other.values, self.values, strict=True))
        return same and nowhere_worse and other.values != self.values


def _name_price(net: ConstrainedAutoencoder) -> str:
    """Name the metric that says what a code costs; the number of its units by default."""
    goals = [(name, part) for name, part in net.parts if "objective" in part.gives]
    penalties = [name for name, part in goals if "sparsity" not in part.gives]
    if penalties:
        return penalties[0]
    return "l0" if net.is_sparse else "kl" if net.is_stochastic else "latent_dim"


def list_trading_keys(varied: Collection[str], trades: Sequence[Trade]) -> list[str]:
    """List the varied keys and groups that trade one side for the other."""
    known = {key for trade in trades for key in trade.keys}
    return [v for v in varied if any(key == v or key.startswith(f"{v}.") for key in known)]


def mark_unbeaten(trades: Sequence[Trade]) -> list[bool]:
    """Mark the trades that no other beats."""
    return [not any(trade.is_beaten_by(other) for other in trades) for trade in trades]
