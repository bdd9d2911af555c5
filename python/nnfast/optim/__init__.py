"""PyTorch's optimizers and schedulers by PyTorch's rules, over the kernels of nnfast.ops.

>>> from nnfast import nn, optim
>>> p = nn.Parameter([1.0])
>>> optimizer = optim.SGD([p], lr=0.5)
>>> (p * p).sum().backward()
>>> optimizer.step()
>>> p.item()
0.0
"""

from nnfast.optim import lr_scheduler
from nnfast.optim.optimizer import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
