"""The reader's own module: `from MNIST import train_images, test_images, train_labels, test_labels`."""

from common import digits

(train_images, train_labels), (test_images, test_labels) = digits()
