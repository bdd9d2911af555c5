"""The digit lab with an MLP: pixels from 0 to 255 into sigmoids, mse, SGD(0.1), 40 epochs; show, save, load."""

import os
import tempfile

import matplotlib.pyplot
import numpy
from common import digits, quick, save

from nnfast.layers import Activation, Dense, Dropout
from nnfast.models import Sequential, load_model
from nnfast.optimizers import SGD
from nnfast.utils import np_utils

(train_data, train_ans), (test_data, test_labels) = digits()
train_data, test_data = train_data.reshape(-1, 784), test_data.reshape(-1, 784)
train_ans, test_ans = np_utils.to_categorical(train_ans, 10), np_utils.to_categorical(test_labels, 10)

model = Sequential()
for inputs in (784, 800):
    model.add(Dense(800, input_dim=inputs))
    model.add(Activation("sigmoid"))
    model.add(Dropout(0.4))
model.add(Dense(10, input_dim=800))
model.add(Activation("softmax"))
model.compile(loss="mse", optimizer=SGD(learning_rate=0.1), metrics=["accuracy"])
model.summary()
print(f"parameters: course 1,276,810, here {model.count_params():,}")
epochs = 1 if quick else 40
model.fit(train_data, train_ans, batch_size=50, epochs=epochs, verbose=2)
steps = int(model.optimizer.iterations) // epochs
print(f"steps an epoch: course 1,200 for 60,000 images, here {steps:,} for {len(train_data):,}")
score = model.evaluate(test_data, test_ans, verbose=0)
print("loss : ", score[0])
print("acc : ", score[1])

predict = numpy.argmax(model.predict(test_data, verbose=0), axis=-1)


def test(index):
    """In a notebook: `from ipywidgets import interact_manual; interact_manual(test, index=(0, 9999))`, or
    `nnfast.plot.digit_viewer(model, test_data, test_labels)`."""
    matplotlib.pyplot.imshow(test_data[index].reshape(28, 28), cmap="Greys")
    print("the network says:", predict[index], " the label is:", test_labels[index])


test(7)
save("predicted_digit")
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "handwriting_model.h5")
    model.save(path)
    model2 = load_model(path)
    same = (model2.predict(test_data[:100], verbose=0) == model.predict(test_data[:100], verbose=0)).all()
    print("saved as .h5, loaded, the same predictions:", bool(same), "(Keras 3.15.1 fails here)")
