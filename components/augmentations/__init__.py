"""Random changes of training batches, registered by file name."""
