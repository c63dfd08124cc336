"""Makes rounds of episodes; the only package that knows simulators."""
