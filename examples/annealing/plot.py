"""Plots one search: plot.py PARAMS RESULTS PICTURE. On the left what it found step by step, on the right where it went."""

import sys
from itertools import accumulate

import function
from picture import Axes, Picture

BLUE, RED, GREY = (31, 98, 170), (205, 45, 45), (170, 176, 184)


def left(picture, trace, least):
    values = [v for _, _, v in trace]
    best = list(accumulate(values, min))
    axes = Axes(picture, (80, 70, 580, 470), (0, len(trace)), (-6, 30))
    axes.frame(range(0, len(trace) + 1, 100), range(-5, 31, 5), grid=(228, 231, 236))
    axes.curve(enumerate(values), GREY, 1.2)
    axes.curve(enumerate(best), BLUE, 2.4)
    axes.mark(values.index(least), least, RED)
    picture.text(330, 508, "step", align="middle")
    picture.text(80, 44, "f(x,y)", align="left")
    legend = ((GREY, "value here"), (BLUE, "least so far"), (RED, "minimum"))
    for i, (color, text) in enumerate(legend):
        picture.line(390, 92 + 24 * i, 416, 92 + 24 * i, color, 3)
        picture.text(424, 85 + 24 * i, text)


def shade(value):
    """A colour for a value: dark where it is low."""
    stops = ((-4, (38, 20, 88)), (4, (58, 92, 160)), (20, (92, 178, 170)), (60, (206, 226, 160)), (160, (253, 250, 224)))
    value = max(stops[0][0], min(stops[-1][0], value))
    for (low, a), (high, b) in zip(stops, stops[1:]):
        if value <= high:
            t = (value - low) / (high - low)
            return tuple(round(p + (q - p) * t) for p, q in zip(a, b))


def right(picture, value, trace, x, y):
    box, span = (690, 70, 1090, 470), (-4, 4)
    axes = Axes(picture, box, span, span)
    scale = (span[1] - span[0]) / (box[2] - box[0])
    for py in range(box[1], box[3]):
        for px in range(box[0], box[2]):
            picture.dot(px, py, shade(value(span[0] + (px - box[0]) * scale, span[1] - (py - box[1]) * scale)))
    axes.frame(range(-4, 5, 2), range(-4, 5, 2))
    axes.curve([(a, b) for a, b, _ in trace], (255, 255, 255), 1.2, cover=0.6)
    axes.mark(x, y, RED)
    picture.text(890, 508, "x", align="middle")
    picture.text(690, 44, "y", align="left")


def main(params, results, path):
    with open(results + "/trace.csv") as f:
        trace = [tuple(map(float, line.split(","))) for line in f]
    with open(results + "/result.txt") as f:
        x, y, least = map(float, f.read().split())
    picture = Picture(1140, 550)
    picture.text(570, 12, f"minimum {least:.6f} at x={x:.4f}, y={y:.4f}", align="middle")
    left(picture, trace, least)
    right(picture, function.read(params), trace, x, y)
    picture.save(path)


main(*sys.argv[1:])
