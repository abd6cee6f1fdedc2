"""Simulated annealing: anneal.py PARAMS DIRECTORY writes result.txt, score.txt and trace.csv."""

import sys
from math import exp
from random import SystemRandom

import function

STEPS = 500
HOT, COLD = 30.0, 0.05


def search(value, chance):
    """Yield x, y and the value there, for each step."""
    x, y = 2.0, 2.0
    here = value(x, y)
    for step in range(STEPS):
        yield x, y, here
        temperature = HOT * (COLD / HOT) ** (step / STEPS)
        reach = 0.1 + 2 * (1 - step / STEPS)
        to = [max(-function.BOUND, min(function.BOUND, v + chance.gauss(0, reach))) for v in (x, y)]
        there = value(*to)
        if there < here or chance.random() < exp((here - there) / temperature):
            (x, y), here = to, there


def main(params, directory):
    trace = list(search(function.read(params), SystemRandom()))
    x, y, least = min(trace, key=lambda step: step[2])
    with open(directory + "/trace.csv", "w") as f:
        f.writelines(f"{x!r},{y!r},{v!r}\n" for x, y, v in trace)
    with open(directory + "/result.txt", "w") as f:
        f.write(f"{x!r} {y!r} {least!r}\n")
    with open(directory + "/score.txt", "w") as f:
        f.write(f"{-least:.12f}\n")


main(*sys.argv[1:])
