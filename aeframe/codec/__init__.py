"""Compression: codes as bytes, and back."""

from aeframe.codec.calibration import calibrate
from aeframe.codec.codec import Codec
from aeframe.codec.codec_file import load, save

__all__ = ["Codec", "calibrate", "load", "save"]
