"""On-line distillation: a student learns from a teacher while a vectorised environment runs."""
