"""A DAgger experiment: its configuration, its rounds step by step, its report."""
