"""Every architecture family that is supported, built small, as open_clip itself builds it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
from timm.models import register_model

BYTE_PAIRS = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 4}
FULL = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
EMBEDS_CLASS = {"context_length": 76, "embed_cls": True, "output_tokens": True}
VIT = {"image_size": 32, "layers": 4, "width": 16, "head_width": 8, "patch_size": 8}
SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}
SMALL_STAGES = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}

Config = dict[str, Any]


def _timm(name: str, base: str, pool: str, proj: str | None, **small: Any) -> Config:
    """Vision part of open_clip's configuration of a timm model that is registered here, small."""
    register_model(_small_model(f"small_{name}", base, small))
    size = small.get("img_size", 64)
    return {
        "image_size": size[0] if isinstance(size, tuple) else size,
        "timm_model_name": f"small_{name}",
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
    }


def _small_model(name: str, base: str, small: Config) -> Callable[..., Any]:
    def make(pretrained: bool = False, **options: Any) -> Any:
        return timm.create_model(base, **(small | options))

    make.__name__ = name
    return make


def _configs() -> dict[str, Config]:
    vision: dict[str, Config] = {
        "vit": VIT | {"patch_dropout": 0.5, "ls_init_value": 0.1},
        "vit_clipa": VIT | {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "vit_constant_positions": VIT | {"pos_embed_type": "sin_cos_2d"},
        "vit_custom_blocks": VIT | {"qk_norm": True, "scale_attn_inner": True},
        "coca": VIT
        | {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4}
        | {"output_tokens": True},
        "siglip": _timm("siglip", "vit_base_patch16_siglip_224", "map", "none", **SMALL_VIT),
        "eva01": _timm("eva01", "eva_giant_patch14_224", "token", None, **SMALL_VIT),
        "eva02": _timm("eva02", "eva02_base_patch16_clip_224", "token", None, **SMALL_VIT),
        "pe": _timm("pe", "vit_pe_core_base_patch16_224", "map", None, **SMALL_VIT),
        "vit_gap": _timm("vit_gap", "vit_medium_patch16_gap_256", "", "linear", **SMALL_VIT),
        "resnet": {"image_size": 64, "layers": [1, 1, 2, 1], "width": 8, "head_width": 64},
        "timm_resnet": _timm(
            "timm_resnet", "resnet50", "abs_attn", "", layers=(1, 1, 2, 1), channels=(16,) * 4
        )
        | {"image_size": 224},
        "convnext": _timm("convnext", "convnext_tiny", "", "mlp", **SMALL_STAGES)
        | {"timm_drop_path": 0.1},
        "swin": _timm(
            *("swin", "swin_tiny_patch4_window7_224", "", "linear"),
            img_size=56, embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=7,
        ),
        "fastvit": _timm(
            *("fastvit", "fastvit_mci1", "avg", None),
            layers=(1, 1, 1, 1), embed_dims=(16, 16, 32, 32),
        ),
        "mobileclip_b": _timm(
            *("mobileclip_b", "vit_base_mci_224", "token", None),
            img_size=32, depth=2, mlp_ratio=0.25,
        ),
        "vitamin": _timm("vitamin", "vitamin_small_224", "", "linear", img_size=32, depth=2),
    }  # fmt: skip
    text: dict[str, Config] = {
        "vit_clipa": FULL | {"proj_bias": False},
        "vit_custom_blocks": {"qk_norm": True},
        "vit_constant_positions": {"pool_type": "eos", "eos_id": 49407},
        "siglip": FULL | {"norm_kwargs": {"eps": 1e-6}},
        "coca": EMBEDS_CLASS,
        "fastvit": {"no_causal_mask": True},
        "vit_gap": {"pool_type": "first", "no_causal_mask": True},
    }
    configs = {
        name: {"embed_dim": 32, "vision_cfg": part, "text_cfg": BYTE_PAIRS | text.get(name, {})}
        for name, part in vision.items()
    }
    for name in ("siglip", "eva02", "coca", "mobileclip_b"):
        configs[name]["custom_text"] = True
    configs["siglip"]["init_logit_bias"] = -10
    configs["coca"]["multimodal_cfg"] = BYTE_PAIRS | {"context_length": 76, "attn_pooler_heads": 2}
    return configs


CONFIGS = _configs()
# Towers of four stages, of which the canonical partial freeze freezes three.
OF_STAGES = ("resnet", "timm_resnet", "convnext", "swin", "fastvit")


def write_configs(folder: Path) -> None:
    """One JSON file a family, for `open_clip.add_model_config`."""
    for name, config in CONFIGS.items():
        (folder / f"family-{name}.json").write_text(json.dumps(config))
