"""Building blocks of policies, named in experiment_models/."""
