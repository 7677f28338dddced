"""The recipe: one TOML file that says what is distilled, from what, how. Unknown keys are refused.

One module a table. Every fault of a file is reported at once, each with its line, what is allowed
and a suggestion.
"""

from distill.recipe.data import DATA_DEFAULT, DATA_VARIABLE, FilesData, SimulatedData
from distill.recipe.recipe import Recipe, load_recipe
from distill.recipe.split import expand

__all__ = ["DATA_DEFAULT", "DATA_VARIABLE", "FilesData", "Recipe", "SimulatedData", "expand",
           "load_recipe"]  # fmt: skip
