"""Pictures without libraries: smooth lines, dots and small text, as a PNG file (RFC 2083)."""

import struct
import zlib
from math import ceil, floor, hypot

# Five columns for each character, the lowest bit on top.
FONT = {
    " ": "0000000000", "-": "0808080808", ".": "0060600000", ",": "0050300000", "(": "001c224100", ")": "0041221c00", ":": "0036360000", "=": "1414141414",
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31", "4": "1814127f10", "5": "2745454539",
    "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "a": "2054545478", "b": "7f48444438", "c": "3844444420", "d": "384444487f", "e": "3854545418", "f": "087e090102",
    "g": "0c5252523e", "h": "7f08040478", "i": "00447d4000", "k": "7f10284400", "l": "00417f4000", "m": "7c04180478",
    "n": "7c08040478", "o": "3844444438", "p": "7c14141408", "r": "7c08040408", "s": "4854545420", "t": "043f444020",
    "u": "3c4040207c", "v": "1c2040201c", "w": "3c4030403c", "x": "4428102844", "y": "0c5050503c",
}


class Picture:
    """An image that is drawn on. Colours are (red, green, blue), 0 to 255."""

    def __init__(self, width, height, background=(255, 255, 255)):
        self.width, self.height = width, height
        self.pixels = bytearray(bytes(background) * (width * height))

    def dot(self, x, y, color, cover=1.0):
        """Mix a colour into one pixel."""
        if 0 <= x < self.width and 0 <= y < self.height:
            at = 3 * (y * self.width + x)
            for i in range(3):
                old = self.pixels[at + i]
                self.pixels[at + i] = round(old + (color[i] - old) * cover)

    def line(self, x1, y1, x2, y2, color, width=1.0, cover=1.0):
        """Draw a line with round ends; a pixel is covered by how near it is."""
        dx, dy = x2 - x1, y2 - y1
        square = dx * dx + dy * dy
        reach = width / 2 + 1
        for y in range(floor(min(y1, y2) - reach), ceil(max(y1, y2) + reach) + 1):
            for x in range(floor(min(x1, x2) - reach), ceil(max(x1, x2) + reach) + 1):
                t = 0 if square == 0 else max(0, min(1, ((x - x1) * dx + (y - y1) * dy) / square))
                near = width / 2 + 0.5 - hypot(x - x1 - t * dx, y - y1 - t * dy)
                if near > 0:
                    self.dot(x, y, color, min(1, near) * cover)

    def disc(self, x, y, radius, color):
        self.line(x, y, x, y, color, 2 * radius)

    def text(self, x, y, text, color=(40, 40, 40), size=2, align="left"):
        """Write text; x and y are its upper corner, or the middle or the right end of its upper edge."""
        x -= {"left": 0, "middle": len(text) * 3 * size, "right": len(text) * 6 * size}[align]
        for n, character in enumerate(text):
            for column, bits in enumerate(bytes.fromhex(FONT[character])):
                for row in range(8):
                    if bits >> row & 1:
                        for i in range(size * size):
                            self.dot(round(x) + (6 * n + column) * size + i % size, round(y) + row * size + i // size, color)

    def save(self, path):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        row = 3 * self.width
        rows = b"".join(b"\0" + self.pixels[i * row : (i + 1) * row] for i in range(self.height))
        with open(path, "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n")
            f.write(chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)))
            f.write(chunk(b"IDAT", zlib.compress(rows, 9)))
            f.write(chunk(b"IEND", b""))


class Axes:
    """A rectangle of a picture with coordinates: x from left to right, y from below to above."""

    def __init__(self, picture, box, x, y):
        self.picture, self.box, self.x, self.y = picture, box, x, y

    def at(self, x, y):
        left, top, right, bottom = self.box
        return (left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (right - left),
                bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top))

    def frame(self, xticks, yticks, grid=None):
        """Draw the edges, the ticks with their numbers, and grid lines."""
        left, top, right, bottom = self.box
        dark = (70, 70, 70)
        for tick in xticks:
            x = self.at(tick, self.y[0])[0]
            if grid:
                self.picture.line(x, top, x, bottom, grid)
            self.picture.line(x, bottom, x, bottom + 6, dark)
            self.picture.text(x + 1, bottom + 12, f"{tick:g}", align="middle")
        for tick in yticks:
            y = self.at(self.x[0], tick)[1]
            if grid:
                self.picture.line(left, y, right, y, grid)
            self.picture.line(left - 6, y, left, y, dark)
            self.picture.text(left - 10, y - 7, f"{tick:g}", align="right")
        for x1, y1, x2, y2 in ((left, top, right, top), (left, bottom, right, bottom), (left, top, left, bottom), (right, top, right, bottom)):
            self.picture.line(x1, y1, x2, y2, dark, 1.5)

    def curve(self, points, color, width=2.0, cover=1.0):
        """Draw a line through points, cut off at the edges."""
        inside = [self.at(max(self.x[0], min(self.x[1], x)), max(self.y[0], min(self.y[1], y))) for x, y in points]
        for a, b in zip(inside, inside[1:]):
            self.picture.line(*a, *b, color, width, cover)

    def mark(self, x, y, color):
        """Mark a point: a disc in a ring."""
        px, py = self.at(x, y)
        for radius, c in ((8, (255, 255, 255)), (7, color), (3, (255, 255, 255))):
            self.picture.disc(px, py, radius, c)
