import pytest

from trainer.registry import datasets, loggers


@pytest.fixture(autouse=True, scope="module")
def _forget_the_toys_plugins():
    """Every toy project registers the same names: a module that has loaded one forgets it."""
    yield
    for registry, name in ((datasets, "fake"), (loggers, "killer")):
        registry._entries.pop(name, None)
