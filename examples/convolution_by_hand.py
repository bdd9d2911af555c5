"""Convolution and pooling as pictures: 341 on the slide's patch; strides, zeros around, many kernels on a digit."""

import matplotlib.pyplot as plt
import numpy as np
from common import digits, save

from nnfast import ops

kernel = np.array([[0.0, 0, 0], [1, 1, 1], [0, 0, 0]])
for expected, patch in (
    (341, [[0, 0, 29], [0, 86, 255], [0, 170, 255]]),
    (0, [[29, 86, 255], [0, 0, 0], [170, 255, 0]]),
    (425, [[0, 86, 255], [0, 170, 255], [0, 0, 0]]),
    (707, [[0, 0, 0], [197, 255, 255], [86, 0, 0]]),
):
    patch = np.array(patch, float)
    here = ops.conv2d(patch.reshape(1, 3, 3, 1), kernel.reshape(3, 3, 1, 1)).item()
    print(f"{np.array2string(patch.astype(int).ravel())} * kernel: course {expected}, here {here:g}")

(images, labels), _ = digits()
x = images[:1, :, :, None].astype("float32")
strokes = {
    "horizontal": kernel,
    "vertical": kernel.T,
    "diagonal": np.eye(3),
    "upper edge": np.array([[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]]),
}
bank = np.stack(list(strokes.values()), -1)[:, :, None, :].astype("float32")
print("28x28, kernel 3x3, stride 1, no zeros:", ops.conv2d(x, bank).shape[1:3])
print("                   stride 2          :", ops.conv2d(x, bank, strides=2).shape[1:3])
same = ops.conv2d(x, bank, padding="same")
print("                   zeros around      :", same.shape[1:3])
pooled = ops.max_pool2d(ops.relu(same), 2)
print("after pooling 2x2, stride 2:", pooled.shape[1:3])
twenty = np.ones((3, 3, 1, 20), "float32")
many = ops.conv2d(x, twenty, padding="same")
print(f"20 kernels: data x {many.size // x.size}, after pooling x {ops.max_pool2d(many, 2).size // x.size}")

small = np.array([[1.0, 3, 2, 1], [4, 6, 5, 0], [7, 2, 8, 1], [0, 1, 3, 9]])
windows = small.reshape(1, 4, 4, 1)
print("max pooling", ops.max_pool2d(windows, 2).numpy()[0, :, :, 0].tolist())
print("average pooling", ops.avg_pool2d(windows, 2).numpy()[0, :, :, 0].tolist())

figure, axes = plt.subplots(3, len(strokes), figsize=(10, 7))
for i, name in enumerate(strokes):
    for row, (title, picture) in enumerate(
        ((name, bank[:, :, 0, i]), ("feature map", same.numpy()[0, :, :, i]), ("pooled", pooled.numpy()[0, :, :, i]))
    ):
        axes[row, i].imshow(picture, cmap="Greys")
        axes[row, i].set_title(title)
        axes[row, i].axis("off")
save("convolution")
