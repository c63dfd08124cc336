import torch

torch.set_num_threads(1)  # as in rollouts; small tensors gain nothing from more
