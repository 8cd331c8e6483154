"""Variants whose steps are captured as a graph."""

from __future__ import annotations

VARIANTS = {
    "undercomplete": ["model.latent_dim=8"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "salt_and_pepper": ["model=denoising", "constraint=salt_and_pepper"],
    "l1": ["model=sparse", "constraint=l1", "constraint.l1.form=unit_norm"],
    "l1, deep": ["model=sparse", "constraint=l1", "network.widths=[16]"],
    "threshold, contractive": ["model=sparse", "constraint=[threshold,contractive]"],
    "kl_sparsity": ["model=sparse", "constraint=[sigmoid,kl_sparsity]"],
    "jump_relu": ["model=sparse", "constraint=jump_relu"],
    "topk, active": ["model=sparse", "constraint=topk", "constraint.topk.read=active"],
    "batch_topk, auxk": [
        "model=sparse",
        "constraint=[batch_topk,auxk]",
        "constraint.auxk.after=0.1",
    ],
    "winner_take_all": ["model=sparse", "model.latent_dim=80", "constraint=winner_take_all"],
    "orthogonal": ["model.latent_dim=8", "constraint=orthogonal"],
    "rate": ["model.latent_dim=8", "constraint=rate"],
    "variational": ["model=variational", "model.latent_dim=4"],
    "batch norm": ["network.widths=[16]", "model.latent_dim=8", "network.norm=batch"],
    "conv, bf16": ["network=conv", "network.widths=[4]", "trainer.precision=bf16-mixed"],
    "64-true": ["model.latent_dim=8", "trainer.precision=64-true"],
    "clipped": ["model.latent_dim=8", "trainer.gradient_clip_val=0.1"],
    "momentum": [
        "model.latent_dim=8",
        "optimizer={_target_: torch.optim.SGD, lr: 0.001, momentum: 0.9}",
    ],
    "AdamW": ["model.latent_dim=8", "optimizer={_target_: torch.optim.AdamW, lr: 0.001}"],
}
