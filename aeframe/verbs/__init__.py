"""What the command does beside training, one small file for each family of verbs.

To import them is to import nothing heavy.
"""

from aeframe.verbs import codec, codes, export, rd, runs, scores, showing
from aeframe.verbs.base import Verb

FAMILIES = (codes, showing, scores, runs, export, codec, rd)
VERBS: dict[str, Verb] = {verb.name: verb for family in FAMILIES for verb in family.VERBS}

__all__ = ["VERBS", "Verb"]
