"""A share of teacher steps that shrinks by the same factor each round."""

from typing import Annotated

from pydantic import Field

from data_collection.mixing import mixings
from data_collection.mixing.beta import BetaMixing, Per


@mixings.register("beta_exponential")
class BetaExponential(BetaMixing):
    """Beta is p ** i in round i (Ross et al. 2011, section 3.1)."""

    def __init__(
        self, round: int, *, p: Annotated[float, Field(gt=0, lt=1)] = 0.5, per: Per = "step"
    ) -> None:
        self.p = p
        super().__init__(round, per)

    def schedule(self, round: int) -> float:
        """Return the power."""
        return self.p**round
