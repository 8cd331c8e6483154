"""What is left of a run: a trained network that is put to work, without Hydra and Lightning."""

from aeframe.artifact.files import MODEL, NOTE, load, model_file, save
from aeframe.artifact.model import Model

__all__ = ["MODEL", "NOTE", "Model", "load", "model_file", "save"]
