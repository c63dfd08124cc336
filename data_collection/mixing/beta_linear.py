"""A share of teacher steps that falls by the same amount each round."""

from pydantic import PositiveInt

from data_collection.mixing import mixings
from data_collection.mixing.beta import BetaMixing, Per


@mixings.register("beta_linear")
class BetaLinear(BetaMixing):
    """Beta is 1 - i / rounds in round i, and 0 from round ``rounds`` on."""

    def __init__(self, round: int, *, rounds: PositiveInt, per: Per = "step") -> None:
        self.rounds = rounds
        super().__init__(round, per)

    def schedule(self, round: int) -> float:
        """Return the line's value, not below 0."""
        return max(0.0, 1.0 - round / self.rounds)
