"""What a configuration may say: all mistakes at once, before data or device.

Nothing of this but `build` needs more than torch, so that mistakes are told soon.
"""

from aeframe.config.parts import check, plain

__all__ = ["check", "plain"]
