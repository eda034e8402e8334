"""The tutorial of the demo course, built as a notebook: arrays, a plot, a widget, and something to try."""

from __future__ import annotations

from typing import Any

from runtimes.notebook_formats import nbformat

# isort: split
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "arrays-and-plots.ipynb"

WELCOME = """\
# Arrays, plots and sliders

This tutorial takes about twenty minutes. Nothing in it is graded: change any cell, break it, run it again.

* **Shift + Enter** runs a cell and moves to the next one.
* A number in brackets, `[3]`, says in which order cells were run; `[*]` means *running now*.
* Your work is saved as you type. You may close this page and come back: it will be as you left it, and a cell that was
  running has gone on running.
"""

WHY_ARRAYS = """\
## 1. Why arrays?

A Python list holds anything, so Python has to look at every element to know what to do with it. A NumPy **array** holds
numbers of one kind, side by side in memory, and works on all of them at once.

Here are the noon temperatures of one week, in degrees Celsius.
"""

TEMPERATURES = """\
import numpy as np

celsius = np.array([11.5, 13.0, 9.8, 15.2, 17.1, 16.4, 12.9])
celsius"""

ELEMENTWISE = """\
## 2. No loop needed

Arithmetic applies to every element. What a list would need a loop for is one expression here, which also reads like the
formula in the textbook: $F = \\frac{9}{5} C + 32$.
"""

FAHRENHEIT = """\
fahrenheit = celsius * 9 / 5 + 32
print("coldest", fahrenheit.min().round(1), "°F")
print("warmest", fahrenheit.max().round(1), "°F")
print("days above 55 °F:", (fahrenheit > 55).sum())"""

TRY_MASK = """\
**Try it.** `fahrenheit > 55` is an array of `True` and `False`. Used as an index it *selects*: the next cell should
show only the warm days. Change the limit and run it again. What happens at 100?
"""

MASK = """\
warm = celsius[celsius > 13]
warm, warm.mean()"""

SHAPE = """\
## 3. A picture says more

A sine wave that fades away: `x` is 400 points between 0 and 20, and both factors are computed for all of them at once.
"""

PLOT = """\
import matplotlib.pyplot as plt

x = np.linspace(0, 20, 400)
y = np.exp(-x / 6) * np.sin(2 * x)

fig, ax = plt.subplots(figsize=(7, 3))
ax.plot(x, y, label="$e^{-x/6}\\\\,\\\\sin 2x$")
ax.plot(x, np.exp(-x / 6), "--", color="grey", label="envelope")
ax.set_xlabel("time (s)")
ax.set_ylabel("displacement (cm)")
ax.legend()
plt.show()"""

MOVE = """\
## 4. Move it

A widget connects a slider to a function: each time you move it, Python runs the function again. *Damping* says how fast
the swing dies out, *frequency* how fast it goes.
"""

WIDGET = """\
from ipywidgets import FloatSlider, interact


def swing(damping=6.0, frequency=2.0):
    fig, ax = plt.subplots(figsize=(7, 3))
    ax.plot(x, np.exp(-x / damping) * np.sin(frequency * x))
    ax.set_ylim(-1, 1)
    ax.set_xlabel("time (s)")
    plt.show()


interact(
    swing,
    damping=FloatSlider(min=1, max=20, value=6, continuous_update=False),
    frequency=FloatSlider(min=0.5, max=6, value=2, continuous_update=False),
);"""

TABLE = """\
## 5. Tables

Columns with names are the business of **pandas**. A column is an array, so everything above still holds.
"""

PANDAS = """\
import pandas as pd

week = pd.DataFrame({"day": "Mon Tue Wed Thu Fri Sat Sun".split(), "celsius": celsius})
week["fahrenheit"] = week["celsius"] * 9 / 5 + 32
week["weekend"] = week["day"].isin(["Sat", "Sun"])
week.groupby("weekend")["celsius"].agg(["mean", "max"]).round(1)"""

FILES = """\
## 6. Files stay

What your code writes appears beside the notebook and is kept with it. The next cell writes the table; *File › Open*
shows it.
"""

WRITE = """\
week.to_csv("week.csv", index=False)
print(open("week.csv").read())"""

EXERCISE = """\
## Your turn

1. Add a column `kelvin` to `week` ($K = C + 273.15$).
2. Which day was closest to the mean of the week? *Hint:* `(week["celsius"] - week["celsius"].mean()).abs().idxmin()`
   gives the row's number.
3. Plot the week as bars: `week.plot.bar(x="day", y="celsius")`.

When something goes wrong, read the **last** line of the message first: it says what happened. The arrow above it says
where.
"""

CELLS: tuple[str | tuple[str], ...] = (
    WELCOME,
    WHY_ARRAYS,
    (TEMPERATURES,),
    ELEMENTWISE,
    (FAHRENHEIT,),
    TRY_MASK,
    (MASK,),
    SHAPE,
    (PLOT,),
    MOVE,
    (WIDGET,),
    TABLE,
    (PANDAS,),
    FILES,
    (WRITE,),
    EXERCISE,
    ("# Your code\n",),
)


def notebook() -> bytes:
    """The tutorial as an .ipynb file (nbformat 4.5). Equal bytes every time: cell ids are their positions."""
    cells = [_cell(number, source) for number, source in enumerate(CELLS)]
    document = new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    nbformat.validate(document)
    text: str = nbformat.writes(document)
    return text.encode()


KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def _cell(number: int, source: str | tuple[str]) -> Any:
    if isinstance(source, tuple):
        return new_code_cell(source[0], id=f"cell-{number}")
    return new_markdown_cell(source.rstrip("\n"), id=f"cell-{number}")
