"""The verbs of the command beside `train`, one small file for each family.

Importing this package imports no heavy library.
"""

from aeframe.cli.verbs import codes, export, latent_pictures, new, rd, scores, showing
from aeframe.cli.verbs import compression as codec
from aeframe.cli.verbs import run_comparison as comparison
from aeframe.cli.verbs import run_table as runs
from aeframe.cli.verbs.verb import Verb

FAMILIES = (codes, showing, latent_pictures, scores, runs, comparison, export, codec, rd, new)
VERBS: dict[str, Verb] = {verb.name: verb for family in FAMILIES for verb in family.VERBS}

__all__ = ["VERBS", "Verb"]
