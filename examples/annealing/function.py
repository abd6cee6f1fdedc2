"""The function whose minimum is looked for: a bowl with two pits."""

from math import exp

BOUND = 10  # of x and y, both ways


def read(path):
    """Return the function with the parameters in a file."""
    with open(path) as f:
        a, b, c, d, e, k, depth1, x1, y1, depth2, x2, y2, scale = map(float, f.read().split())

    def value(x, y):
        bowl = a * x * x + b * x * y + c * y * y + d * x + e * y + k
        pit1 = depth1 * exp(-((x - x1) ** 2 + (y - y1) ** 2) / scale)
        pit2 = depth2 * exp(-((x - x2) ** 2 + (y - y2) ** 2) / scale)
        return bowl - pit1 - pit2

    return value
