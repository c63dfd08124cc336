"""Words become looks, looks become textures: what the procedural generator is made of."""
