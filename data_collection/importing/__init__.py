"""Other libraries' demonstrations as rounds: what the commands ``import_*`` are made of."""
