"""The teacher acts in the first round and never again."""

from data_collection.mixing import mixings
from data_collection.mixing.beta import BetaMixing, Per


@mixings.register("beta_first_round_only")
class BetaFirstRoundOnly(BetaMixing):
    """Beta is 1 in round 0 and 0 later: the indicator version of Ross et al. (2011)."""

    def __init__(self, round: int, *, per: Per = "step") -> None:
        super().__init__(round, per)

    def schedule(self, round: int) -> float:
        """Return 1 for the first round only."""
        return 1.0 if round == 0 else 0.0
