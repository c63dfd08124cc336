"""The training engine: configuration, registry, the train loop, rollouts, checkpoints."""
