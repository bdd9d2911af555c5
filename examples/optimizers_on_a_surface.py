"""The race of the optimizers on a valley with a bend, 100 steps each."""

from common import quick, save

from nnfast import optimizers, plot


def valley(x, y):
    """Flat along x, steep along y, with a saddle at (0, 0)."""
    return 0.1 * x**4 - 0.5 * x**2 + 2.0 * y**2 + 0.4 * x * y


racers = {
    "SGD": optimizers.SGD(0.05),
    "momentum": optimizers.SGD(0.05, momentum=0.9),
    "nesterov": optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "Adagrad": optimizers.Adagrad(0.3),
    "Adadelta": optimizers.Adadelta(3.0),
    "RMSprop": optimizers.RMSprop(0.05),
    "Adam": optimizers.Adam(0.1),
    "Nadam": optimizers.Nadam(0.1),
    "Lion": optimizers.Lion(0.05),
}
figure = plot.optimizer_race(valley, racers, start=(0.02, 1.8), steps=20 if quick else 100)
for line in figure.axes[0].lines[:-1]:  # the last is the start
    end = line.get_xydata()[-1]
    print(f"{line.get_label():10} ends at {end.round(3)}, loss {valley(*end):.4f}")
save("optimizer_race", figure)
