"""Pairs of a variant and a constraint."""

from __future__ import annotations

from aeframe.config.composition import CONF

VARIANTS = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
CONSTRAINTS = sorted(file.stem for file in (CONF / "constraint").glob("*.yaml"))
SPARSE = {"topk", "batch_topk", "winner_take_all", "jump_relu", "threshold", "sigmoid", "l1"}
SPARSE |= {"kl_sparsity"}
CORRUPTIONS = {"masking", "gaussian_noise", "salt_and_pepper", "swap_noise"}
NOT_DRAWN = "needs a deterministic code, but model=variational draws its code from a posterior"
NONE_DEAD = "revives the dead units of a sparse code, but nothing makes the code sparse"
ILLEGAL = {
    ("undercomplete", "auxk"): NONE_DEAD,
    ("undercomplete", "resampling"): NONE_DEAD,
    ("denoising", "auxk"): NONE_DEAD,
    ("denoising", "resampling"): NONE_DEAD,
    (
        "sparse",
        "bottleneck",
    ): "bottleneck gives fewer units than inputs, but model=sparse needs more",
    **{
        ("variational", name): NOT_DRAWN
        for name in {*SPARSE, "auxk", "resampling", "rate"}
        - {"l1"}  # l1 has a gradient on any code
    },
}


def choice(variant: str, constraint: str) -> list[str]:
    """Return the overrides of a pair: the constraint, and what the variant needs beside it."""
    names = [constraint]
    if variant == "denoising" and constraint not in CORRUPTIONS:
        names = ["masking", constraint]
    if variant == "sparse" and constraint not in SPARSE:
        sparse = "l1" if constraint == "rate" else "topk"  # which holds units at 0
        names = [constraint, "topk"] if constraint in CORRUPTIONS else [sparse, constraint]
    sizes = {"topk": "k=4", "batch_topk": "k=4", "bottleneck": "size=15"}
    options = [f"constraint.{name}.{sizes[name]}" for name in names if name in sizes]
    return [f"model={variant}", f"constraint=[{','.join(names)}]", *options]
