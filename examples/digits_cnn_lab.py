"""The digit lab with a CNN: three convolutions, 325,282 parameters. Its Dense(200, input_dim=784) gets 1,152 inputs."""

import numpy
from common import digits, quick, save

from nnfast import plot
from nnfast.layers import Activation, Conv2D, Dense, Flatten, MaxPooling2D
from nnfast.models import Sequential
from nnfast.optimizers import SGD
from nnfast.utils import np_utils

(train_data, train_ans), (test_data, test_ans) = digits()
train_data, test_data = train_data.reshape(-1, 28, 28, 1), test_data.reshape(-1, 28, 28, 1)
if quick:
    train_data, train_ans, test_data, test_ans = train_data[:500], train_ans[:500], test_data[:200], test_ans[:200]
train_rows, test_rows = np_utils.to_categorical(train_ans, 10), np_utils.to_categorical(test_ans, 10)

model = Sequential()
model.add(Conv2D(32, (3, 3), padding="same", input_shape=(28, 28, 1)))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
for filters in (64, 128):
    model.add(Conv2D(filters, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(200, input_dim=28 * 28))
model.add(Activation("relu"))
model.add(Dense(10, input_dim=200))
model.add(Activation("softmax"))
model.compile(loss="mse", optimizer=SGD(learning_rate=0.008), metrics=["accuracy"])
model.summary()
print(f"parameters: course 325,282, here {model.count_params():,}")
epochs = 1 if quick else 20
model.fit(train_data, train_rows, batch_size=50, epochs=epochs, verbose=2)
steps = int(model.optimizer.iterations) // epochs
print(f"steps an epoch: course 1,200 for 60,000 images, here {steps:,} for {len(train_data):,}")
score = model.evaluate(test_data, test_rows, verbose=0)
print("loss : ", score[0])
print("acc : ", score[1])
predict = numpy.argmax(model.predict(test_data, verbose=0), axis=-1)

save("predictions", plot.digits(test_data[:40], test_ans[:40], predict[:40]))
for block, index in enumerate((2, 5), 1):
    save(f"feature_maps_{block}", plot.feature_maps(model, test_data[0], index, columns=16))
save("filters", plot.filters(model.layers[0]))
