# Rung 8: shipped. What `nnfast.ops.conv2d`, and with it each Conv2D layer, runs on a GPU.
# Idea:    the implicit product, on tiles chosen by the shape; on tensor cores where the precision allows it.
# Changed: any stride, padding, groups and layout, and float64 (csrc/cuda/conv2d.cu); bias and activation fused.
# Removes: what the rungs below lose on odd shapes and few channels.
from nnfast import ops


def conv2d(x, filters):
    return ops.conv2d(x, filters, padding="same")
