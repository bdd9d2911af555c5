"""The first network of the course, in one file: 407,050 parameters, 5 epochs, about 0.98 of the test digits."""

import matplotlib.pyplot as plt
from common import quick, save
from MNIST import test_images, test_labels, train_images, train_labels

from nnfast import layers, models
from nnfast.utils import to_categorical

print(train_images.ndim, train_images.shape, train_images.dtype, len(train_labels), train_labels)
plt.imshow(train_images[4], cmap=plt.cm.binary)
save("digit")

network = models.Sequential()
network.add(layers.Dense(512, activation="relu", input_shape=(28 * 28,)))
network.add(layers.Dense(10, activation="softmax"))
network.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
network.summary()

train = train_images.reshape((len(train_images), 28 * 28)).astype("float32") / 255
test = test_images.reshape((len(test_images), 28 * 28)).astype("float32") / 255
history = network.fit(train, to_categorical(train_labels), epochs=1 if quick else 5, batch_size=128, verbose=2)
test_loss, test_acc = network.evaluate(test, to_categorical(test_labels), verbose=0)
print(f"parameters: course 407,050, here {network.count_params():,}")
updates = int(network.optimizer.iterations)
print(f"gradient updates: course 2,345 for 60,000 images, here {updates:,} for {len(train):,}")
print("test_acc:", test_acc, "train:", history.history["accuracy"][-1], "course: about 0.98, with 60,000 images")
