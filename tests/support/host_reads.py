import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ALWAYS = {
    "aten::_local_scalar_dense",  # item(), float(), an if
    "aten::bincount",
    "aten::equal",
    "aten::masked_select",
    "aten::nonzero",
    "aten::_unique2",
}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_"}


class HostReads(TorchDispatchMode):
    """While entered, lists the operations at which the host would wait for a GPU.

    They need a value before they can go on, so that the GPU runs dry. Found on the CPU, too.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in _ALWAYS or (name in _INDEXING and any(map(_is_mask, args[1]))):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _is_mask(index):
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
