"""The original import lines, the paths of Keras below `import nnfast as keras`, and what a wrong name says."""

import subprocess
import sys

import numpy as np
import pytest

import nnfast
from nnfast import compat


def run(lines):
    names = {}
    exec("\n".join(lines), names)
    return names


def test_attribute_paths_of_keras():
    keras = nnfast
    np.testing.assert_array_equal(keras.utils.np_utils.to_categorical([1, 0]), [[0, 1], [1, 0]])
    assert keras.src.backend.shape([[1, 2, 3]]) == (1, 3)
    assert keras.backend.floatx() == "float32" and keras.backend.int_shape(np.ones((2, 5))) == (2, 5)
    assert run(["from nnfast.src.backend import shape"])["shape"] is keras.backend.shape
    variable = keras.backend.variable([1.0, 2.0])
    keras.backend.set_value(variable, [3.0, 4.0])
    assert keras.backend.get_value(variable).tolist() == [3, 4] and keras.backend.backend() == "nnfast"
    with pytest.raises(AttributeError, match=r"nnfast\.layer\. Did you mean 'layers'\?"):
        _ = nnfast.layer


def test_import_lines_of_keras(aliases):
    aliases("keras", "tensorflow.keras")
    found = run(
        [
            "from keras.datasets import mnist",
            "from keras.datasets.mnist import load_data",
            "from keras.src.backend import shape",
            "from keras import models, layers",
            "from keras.utils import np_utils, to_categorical",
            "from keras.models import Sequential",
            "from keras.layers.core import Dense as OldDense",
            "from tensorflow.keras.models import Sequential as Sequential2",
            "from tensorflow.keras.layers import Flatten, Dense",
            "from tensorflow.keras.optimizers import SGD",
            "from tensorflow import keras",
            "import tensorflow as tf",
            "import keras.backend as K",
            "from keras.utils.vis_utils import plot_model",
            "from keras.engine.topology import Layer as OldLayer",
            "from tensorflow.python.keras.layers import Dense as PrivateDense",
            "from keras import Layer, Loss, Metric, Optimizer, Initializer, Regularizer, InputSpec, ops, random",
            "from keras.random import SeedGenerator",
        ]
    )
    assert found["mnist"].load_data is found["load_data"] is nnfast.datasets.mnist.load_data
    assert found["Dense"] is found["OldDense"] is found["layers"].Dense is nnfast.layers.Dense
    assert found["Sequential"] is found["Sequential2"] is found["models"].Sequential is nnfast.Sequential
    assert found["SGD"] is nnfast.optimizers.SGD and found["tf"].keras is found["keras"]
    assert found["np_utils"].to_categorical is found["to_categorical"] is nnfast.utils.to_categorical
    assert found["K"].epsilon() == 1e-7
    assert found["plot_model"] is nnfast.utils.plot_model and found["PrivateDense"] is nnfast.layers.Dense
    assert found["Layer"] is found["OldLayer"] is nnfast.layers.Layer and found["Metric"] is nnfast.metrics.Metric
    assert found["Loss"] is nnfast.losses.Loss and found["Optimizer"] is nnfast.optimizers.Optimizer
    assert found["SeedGenerator"] is nnfast.random.SeedGenerator and found["ops"].relu is nnfast.ops.relu


def test_tensorflow_names(aliases):
    aliases("tensorflow")
    import tensorflow as tf

    x = tf.Variable([3.0])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.square(x)) + tf.reduce_mean(tf.nn.relu(x))
    assert tape.gradient(y, x).tolist() == [7]
    z, labels = tf.constant([[2.0, 25, 13]]), [2]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)
    assert loss.tolist() == pytest.approx([12.000006])
    assert tf.cast([1, 2], tf.float32).dtype == np.float32 and tf.config.list_physical_devices("GPU") == []
    tf.random.set_seed(1)
    first = tf.random.normal((3,)).tolist()
    tf.random.set_seed(1)
    assert tf.random.normal((3,)).tolist() == first
    assert isinstance(tf.keras.losses.SparseCategoricalCrossentropy(), nnfast.losses.Loss)

    @tf.function
    def double(v):
        return v * 2

    assert double(2) == 4


def test_import_lines_of_torch(aliases):
    aliases("torch", "torchvision")
    found = run(
        [
            "import torch",
            "import torchvision",
            "import torchvision.transforms as transforms",
            "import torch.nn as nn",
            "import torch.optim as optim",
            "import torch.nn.functional as F",
            "from torch.utils.data import DataLoader, Subset",
            "from torchvision import datasets",
            "from torch.optim.lr_scheduler import StepLR",
        ]
    )
    assert found["nn"].Linear is nnfast.nn.Linear and found["F"].relu is nnfast.nn.functional.relu
    assert found["torch"].utils.data.DataLoader is found["DataLoader"] is nnfast.data.DataLoader
    assert found["torchvision"].datasets.MNIST is found["datasets"].MNIST is nnfast.data.vision.MNIST
    assert found["transforms"].Compose is nnfast.data.transforms.Compose
    assert found["optim"].lr_scheduler.StepLR is found["StepLR"]


def test_star_import(aliases):
    aliases("keras")
    assert run(["from keras.layers import *"])["Dense"] is nnfast.layers.Dense


@pytest.mark.parametrize(
    "line, words",
    [
        ("from keras.layers import Dens", r"keras\.layers\.Dens.*'Dense'"),
        ("import keras.layer", r"keras\.layer\b.*'layers'"),
        ("from keras.optimizers import Adamm", r"Adamm.*'Adam"),
        ("import keras; keras.lossses", r"'lossses'.*'losses'"),
        ("import keras.wrappers.scikit_learn", r"keras\.wrappers"),
        ("from torch import tensro", r"torch\.tensro.*'tensor'"),
    ],
)
def test_missing_names_say_what_is_near(aliases, line, words):
    aliases("keras", "torch")
    with pytest.raises((ImportError, AttributeError), match=words):
        run([line])


def test_twice_is_once_and_uninstall_takes_back(aliases):
    aliases("keras")
    aliases("keras", "tensorflow.keras")
    assert compat.installed() == ["keras", "tensorflow.keras"]
    import keras

    aliases("keras")
    assert sys.modules["keras"] is keras
    compat.uninstall("keras")
    assert "keras" not in sys.modules and compat.installed() == ["tensorflow.keras"]
    compat.uninstall()
    assert compat.installed() == [] and not any(type(f).__module__ == compat.__name__ for f in sys.meta_path)


def test_never_shadows_what_is_imported(aliases):
    import types

    sys.modules["keras"] = types.ModuleType("keras")
    with pytest.raises(RuntimeError, match=r"'keras' is already imported.*import nnfast as keras"):
        aliases("torch", "keras")
    assert compat.installed() == []
    with pytest.raises(ValueError, match=r"'jax'"):
        aliases("jax")


def test_nothing_is_installed_unasked():
    code = "import nnfast, sys; nnfast.compat; print([m for m in sys.modules if m.split('.')[0] in ('keras', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
