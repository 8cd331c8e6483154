"""Aliases: everyday names of options and keys, and how aeframe calls them."""

from __future__ import annotations

import re

from aeframe.config.override_words import read_key

KEYS = {
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "n_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("steps", "max_steps"), "trainer.max_steps"),
    **dict.fromkeys(("lr", "learning_rate"), "optimizer.lr"),
    **dict.fromkeys(("batch_size", "batchsize", "bs"), "dataset.batch_size"),
    **dict.fromkeys(
        ("latent_dim", "latent", "latent_size", "code_size", "z_dim"),
        "model.latent_dim",
    ),
    **dict.fromkeys(("num_workers", "workers"), "dataset.num_workers"),
    "beta": "model.beta",
    "weight_decay": "optimizer.weight_decay",
    "patience": "early_stopping.patience",
    "precision": "trainer.precision",
    "random_seed": "seed",
}
"""Everyday names of keys."""

SCHEDULERS = {
    "cosine": "CosineAnnealingLR, T_max: 20",
    "step": "StepLR, step_size: 10",
    "exponential": "ExponentialLR, gamma: 0.95",
    "plateau": "ReduceLROnPlateau",
}
OPTIMIZERS = ("Adam", "AdamW", "SGD", "RMSprop", "NAdam", "RAdam", "Adagrad", "Adamax")
FOLDER, FILE = "dataset=image_folder dataset.root=FOLDER", "dataset=array dataset.path=FILE.npy"
TABLE = "dataset=table dataset.path=FILE.csv"
OPTIONS = {
    "model": {
        **dict.fromkeys(("vae", "beta_vae", "betavae", "vanilla_vae"), "model=variational"),
        **dict.fromkeys(("ae", "autoencoder", "vanilla", "basic"), "model=undercomplete"),
        **dict.fromkeys(("dae", "denoise"), "model=denoising"),
        **dict.fromkeys(("sae", "sparse_ae"), "model=sparse"),
    },
    "dataset": {
        **dict.fromkeys(("photos", "images", "folder", "imagefolder"), FOLDER),
        **dict.fromkeys(("numpy", "npy", "npz", "custom"), FILE),
        **dict.fromkeys(("csv", "tsv", "parquet", "tabular", "dataframe"), TABLE),
        **dict.fromkeys(("cifar", "cifar-10"), "dataset=cifar10"),
        **dict.fromkeys(("fashion", "fashionmnist", "fashion-mnist"), "dataset=fashion_mnist"),
    },
    "network": {
        **dict.fromkeys(("cnn", "convnet", "resnet", "unet"), "network=conv"),
        **dict.fromkeys(("fc", "dense"), "network=mlp"),
    },
    "likelihood": {
        **dict.fromkeys(("mse", "normal"), "likelihood=gaussian"),
        **dict.fromkeys(("bce", "binary"), "likelihood=bernoulli"),
    },
    "hardware": {"cuda": "hardware=gpu"},
    "device": {"cuda": "hardware=gpu", "gpu": "hardware=gpu", "cpu": "hardware=cpu"},
    "optimizer": {name.lower(): f"optimizer._target_=torch.optim.{name}" for name in OPTIMIZERS},
    "scheduler": {
        name: f"scheduler={{_target_: torch.optim.lr_scheduler.{options}}}"
        for name, options in SCHEDULERS.items()
    },
}
"""Everyday names of options by group, and the words that aeframe takes."""


def replace_alias(word: str) -> str:
    """Replace an everyday name in a KEY=VALUE word; other words stay as they are.

    The result may be several words, e.g. `dataset=image_folder dataset.root=FOLDER`.
    """
    key, sign, value = word.partition("=")
    if not sign or not re.fullmatch(r"\+*\w+", key):
        return word
    name = read_key(word)
    if name in KEYS:
        return f"{KEYS[name]}={value}"
    names = OPTIONS.get(name, {})
    if value in names or "," not in value:
        return names.get(value.strip("\"'").lower(), word)
    new = [names.get(option.lower(), f"{name}={option}") for option in value.split(",")]
    if any(not one.startswith(f"{name}=") or re.search(r"[\s\[\]{}]", one) for one in new):
        return word  # a list, or values that need several words each
    return f"{name}={','.join(one.partition('=')[2] for one in new)}"
