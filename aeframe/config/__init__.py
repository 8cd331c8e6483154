"""What a configuration may say: all mistakes at once, before data or device.

Nothing of this but `build` needs more than torch, so that mistakes are told soon.
"""

from aeframe.config.node import plain
from aeframe.config.parts import check

__all__ = ["check", "plain"]
