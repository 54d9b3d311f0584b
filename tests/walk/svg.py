"""A terminal's text with its looks (as tmux captures it), drawn as an SVG.

svg.py "COLUMNS ROWS CURSOR_X CURSOR_Y" TITLE < capture > picture.svg
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape, quoteattr

WIDE, HIGH, EDGE = 8.4, 18, 10
GROUND, INK = "#16181d", "#d0d3d8"
SIXTEEN = ["#1c1e24", "#d16969", "#8cb36a", "#d3a95b", "#6a9bd8", "#b583c9", "#5fb3b3", "#c8ccd2",
           "#6d7380", "#e88383", "#a6cc86", "#e6c07b", "#8ab4ea", "#cb9ddd", "#7fcaca", "#ffffff"]


def colour(number):
    if number < 16:
        return SIXTEEN[number]
    if number < 232:
        steps = [0, 95, 135, 175, 215, 255]
        number -= 16
        return "#%02x%02x%02x" % (steps[number // 36], steps[number // 6 % 6], steps[number % 6])
    return "#%02x%02x%02x" % ((8 + (number - 232) * 10,) * 3)


class Look:
    def __init__(self):
        self.ink, self.ground, self.marks = None, None, frozenset()

    def turn(self, numbers):
        numbers = [int(number or 0) for number in re.split("[;:]", numbers)]
        marks = set(self.marks)
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                self.ink, self.ground = None, None
                marks = set()
            elif number in (1, 2, 4, 7):
                marks.add(number)
            elif number in (22, 24, 27):
                marks -= {1, 2} if number == 22 else {number - 20}
            elif number in (38, 48) and numbers[:1] == [5]:
                shade = colour(numbers[1])
                numbers = numbers[2:]
                if number == 38:
                    self.ink = shade
                else:
                    self.ground = shade
            elif 30 <= number <= 37:
                self.ink = colour(number - 30)
            elif 40 <= number <= 47:
                self.ground = colour(number - 40)
            elif 90 <= number <= 97:
                self.ink = colour(number - 82)
            elif number == 39:
                self.ink = None
            elif number == 49:
                self.ground = None
        self.marks = frozenset(marks)

    def key(self):
        ink, ground = self.ink or INK, self.ground
        if 7 in self.marks:
            ink, ground = ground or GROUND, ink
        return ink, ground, 1 in self.marks, 2 in self.marks, 4 in self.marks


def cells(character):
    if unicodedata.combining(character) or character in "\ufe0f\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def runs(row, look):
    """(column, cells, text, look) of one row; wide characters stand alone."""
    column, found = 0, []
    for part in re.split("(\x1b\\[[0-9;:]*m|\x1b[()].|\x0e|\x0f)", row):
        if part.startswith("\x1b["):
            look.turn(part[2:-1])
        elif part and part[0] not in "\x1b\x0e\x0f":
            for character in part:
                wide, key = cells(character), look.key()
                last = found[-1] if found else None
                if last and wide == 0:
                    last[2] += character
                elif last and last[3] == key and wide == 1 and last[1] == len(last[2]):
                    last[1] += 1
                    last[2] += character
                else:
                    found.append([column, wide, character, key])
                column += wide
    return found


def main():
    columns, rows, cursor_x, cursor_y = map(int, sys.argv[1].split())
    width, height = columns * WIDE + 2 * EDGE, rows * HIGH + 2 * EDGE
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
          f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label={quoteattr(sys.argv[2])}>')
    print(f"<title>{escape(sys.argv[2])}</title>")
    print("<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
          "</style>")
    print(f'<rect width="100%" height="100%" rx="6" fill="{GROUND}"/>')
    look = Look()
    for number, row in enumerate(sys.stdin.read().split("\n")[:rows]):
        top = EDGE + number * HIGH
        for column, wide, text, (ink, ground, bold, dim, under) in runs(row, look):
            x, length = EDGE + column * WIDE, wide * WIDE
            if ground:
                print(f'<rect x="{x:.1f}" y="{top}" width="{length:.1f}" height="{HIGH}" fill="{ground}"/>')
            if text.strip():
                # Spaces are places here, which every program that draws keeps.
                x += WIDE * (len(text) - len(text.lstrip(" ")))
                text = text.strip(" ")
                length = WIDE * sum(map(cells, text))
                text = text.replace(" ", "\u00a0")
                more = ' font-weight="bold"' * bold + ' opacity=".6"' * dim
                more += ' text-decoration="underline"' * under
                print(f'<text x="{x:.1f}" y="{top + 13}" textLength="{length:.1f}" fill="{ink}"{more}>'
                      f"{escape(text)}</text>")
    print(f'<rect x="{EDGE + cursor_x * WIDE:.1f}" y="{EDGE + cursor_y * HIGH}" width="{WIDE}" '
          f'height="{HIGH}" fill="{INK}" opacity=".5"/>')
    print("</svg>")


main()
