"""Short configurations that together use each variant, network, likelihood and constraint.

No data is needed: samples are digits of scikit-learn, and arrays and images made from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SHORT = (
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=5", "dataset.batch_size=128"),
    *("evaluation.images=64", "evaluation.importance_samples=10", "dashboard.images=0"),
)
PICTURES = "dashboard.images=4"
SPARSE = ("model=sparse", "model.latent_dim=96")
VAE = ("model=variational", "model.latent_dim=6", "network.widths=[32]")
VECTORS = ("dataset=array", "dataset.path=vectors.npy", "model.latent_dim=5", "network.widths=[16]")
IMAGES = ("dataset=image_folder", "dataset.root=images", "dataset.size=16", "dataset.batch_size=16")
PHOTOS = ("dataset=photo_crops", "dataset.root=photos", "dataset.size=32", "dataset.batch_size=8")
ON_DISK = ("dataset.memory_limit=1e-9", "dataset.num_workers=2")
CONV = ("network=conv", "network.widths=[8,16]")
INTERRUPTED = ("network.dropout=0.2", "network.norm=batch", "trainer.max_epochs=3")


@dataclass(frozen=True)
class Configuration:
    """A training to run.

    resumed_with: overrides of a second training, which resumes the first. inputs: samples to encode.
    """

    overrides: tuple[str, ...]
    resumed_with: tuple[str, ...] = ()
    inputs: str = "digits"


CONFIGURATIONS = {
    "undercomplete": Configuration((PICTURES,)),
    "conv_l2_orthogonal": Configuration((*CONV, "constraint=[bottleneck,l2,orthogonal]", PICTURES)),
    "contractive_bernoulli": Configuration(
        (
            "constraint=[bottleneck,contractive]",
            "likelihood=bernoulli",
            "network.widths=[32]",
            "constraint.bottleneck.ratio=0.2",
        )
    ),
    "dropout_norm_tied": Configuration(
        (
            "network.norm=layer",
            "network.dropout=0.1",
            "network.tied=true",
            "network.activation=gelu",
        )
    ),
    "denoising": Configuration(
        ("model=denoising", "constraint=[masking,gaussian_noise]", PICTURES)
    ),
    "denoising_salt_and_pepper": Configuration(
        (
            *("model=denoising", "constraint=salt_and_pepper", "likelihood=bernoulli"),
            "constraint.salt_and_pepper.emphasis_corrupted=2.0",
            "constraint.salt_and_pepper.fraction={schedule: linear, start: 0.1, end: 0.4, epochs: 2}",
        )
    ),
    "vae_bernoulli_warmup": Configuration(
        (*VAE, "model.beta={schedule: warmup, value: 1.0, epochs: 1}", PICTURES)
    ),
    "vae_importance_weighted": Configuration(
        (*VAE, "model.k=3", "model.objective=importance_weighted")
    ),
    "vae_optimal_variance": Configuration(
        (
            *(*VAE, "likelihood=gaussian", "model.free_bits=0.1"),
            "model.beta={schedule: cyclic, value: 1.0, epochs: 1, ratio: 0.5}",
        )
    ),
    "vae_learned_variance": Configuration(
        (*VAE, "likelihood=gaussian", "likelihood.variance=learned")
    ),
    "topk_auxk": Configuration(
        (
            *(*SPARSE, "constraint=[topk,auxk]", "constraint.auxk.after=0.1", PICTURES),
            "constraint.topk.k={schedule: cosine, start: 40, end: 8, epochs: 1}",
        )
    ),
    "batch_topk": Configuration((*SPARSE, "constraint=batch_topk")),
    "jump_relu": Configuration((*SPARSE, "constraint=jump_relu")),
    "winner_take_all": Configuration((*SPARSE, "constraint=winner_take_all")),
    "threshold_masking": Configuration((*SPARSE, "constraint=[threshold,masking]")),
    "sigmoid_kl_resampling": Configuration(
        (
            *(*SPARSE, "constraint=[sigmoid,kl_sparsity,resampling]", "constraint.sigmoid.adapt=0"),
            *("constraint.resampling.every=0.4", "constraint.resampling.after=0.1"),
        )
    ),
    "l1_cosine_of_steps": Configuration(
        (
            *(
                *SPARSE,
                "constraint=l1",
                "constraint.l1.form=unit_norm",
                "early_stopping.patience=1",
            ),
            "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 24, "
            "interval: step}",
        )
    ),
    "rate_fully_conv": Configuration(
        (
            *(*PHOTOS, "dataset.crops_per_image=8", "network=fully_conv", "network.widths=[8]"),
            *("constraint=rate", "model.latent_dim=384", PICTURES),
        ),
        inputs="photos/0.png",
    ),
    "array_auto": Configuration(VECTORS, inputs="vectors.npy"),
    "array_rms_accumulation": Configuration(
        (
            *(*VECTORS, "dataset.normalization=rms", "dataset.batch_size=48"),
            *("trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0"),
            "optimizer={_target_: torch.optim.SGD, lr: 0.001, momentum: 0.9}",
        ),
        inputs="vectors.npy",
    ),
    "array_on_disk": Configuration(
        (*VECTORS, *ON_DISK, "dataset.normalization=standard"), inputs="vectors.npy"
    ),
    "image_folder": Configuration(
        (*IMAGES, *CONV, "network.norm=batch", PICTURES), inputs="images"
    ),
    "image_folder_on_disk": Configuration(
        (*IMAGES, *ON_DISK, "dataset.cache=null"),
        inputs="images",
    ),
    "bf16": Configuration(("trainer.precision=bf16-mixed", "network.widths=[64]")),
    "ddp_cpu": Configuration(("hardware=ddp_cpu", "network.widths=[32]")),
    "diverged_and_retried": Configuration(
        (
            *("network.widths=[]", "trainer.steps_per_call=1", "trainer.log_every_n_steps=1"),
            *("optimizer={_target_: torch.optim.SGD, lr: 0.2}", "checkpoint.every_minutes=0"),
            *("divergence.explodes_at=10", "divergence.retries=9"),
        )
    ),
    "uninterrupted": Configuration(INTERRUPTED),
    "resumed_in_mid_epoch": Configuration(
        (*INTERRUPTED, "++trainer.max_steps=17"), resumed_with=("++trainer.max_steps=36",)
    ),
    "experiment": Configuration(("experiment=vae_mnist", "dataset=digits")),
    "best_is_not_last": Configuration(
        (
            *("trainer.max_epochs=3", "optimizer.lr=0.003"),
            "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 10}",
        )
    ),
    "sweep": Configuration(("-m", *SPARSE, "constraint=topk,l1")),
}


def make_data(folder: Path) -> None:
    """Write vectors, images and photos, the same each time."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 24)) + 0.1 * rng.normal(
        size=(400, 24)
    )
    np.save(folder / "vectors.npy", vectors.astype(np.float32))
    for i in range(48):
        _save_image(folder / "images" / f"class{i % 2}" / f"{i}.png", 24, rng)
    for i in range(8):
        _save_image(folder / "photos" / f"{i}.png", 64, rng)


def _save_image(file: Path, size: int, rng: np.random.Generator) -> None:
    """Write smooth waves of random direction with a little noise, in color."""
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 2, (3, 3))]
    pixels = 127 + 100 * np.stack(waves, axis=-1) + rng.normal(0, 5, (size, size, 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
