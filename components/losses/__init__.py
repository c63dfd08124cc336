"""Losses: of regression, registered by file name, and what single policies need beside them."""
