"""The same share of teacher steps in every round."""

from typing import Annotated

from pydantic import Field

from data_collection.mixing import mixings
from data_collection.mixing.beta import BetaMixing, Per


@mixings.register("beta_constant")
class BetaConstant(BetaMixing):
    """Beta is always ``beta``; 0, the default, lets the student act alone."""

    def __init__(
        self, round: int, *, beta: Annotated[float, Field(ge=0, le=1)] = 0.0, per: Per = "step"
    ) -> None:
        self.constant = beta
        super().__init__(round, per)

    def schedule(self, round: int) -> float:
        """Return the constant."""
        return self.constant
