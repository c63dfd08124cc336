"""The same rounds on a Ray cluster: teacher nodes, render nodes, a trainer node, storage."""
