"""Hydra's and OmegaConf's errors as one readable message: the key, what was found, what is allowed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tuneforge.errors import ConfigError, nearest
from tuneforge.kinds import KINDS, SEVERAL
from tuneforge.plugins import GROUPS, Catalogue
from tuneforge.settings import Run

FAMILIAR: Mapping[str, str] = {
    "lr": "optimizer.learning_rate",
    "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "optim": "optimizer=",
    "lr_scheduler_type": "scheduler=",
    "warmup_ratio": "scheduler.warmup",
    "warmup_steps": "scheduler.warmup",
    "per_device_train_batch_size": "batch.size",
    "micro_batch_size": "batch.size",
    "batch_size": "batch.size",
    "gradient_accumulation_steps": "batch.global_size (rows per optimizer step)",
    "accumulate_grad_batches": "batch.global_size (rows per optimizer step)",
    "num_train_epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "epochs": "trainer.max_epochs",
    "max_steps": "trainer.max_steps",
    "max_seq_length": "batch.max_length",
    "max_length": "batch.max_length",
    "sequence_len": "batch.max_length",
    "cutoff_len": "batch.max_length",
    "sample_packing": "batch.packing",
    "group_by_length": "batch.group_by_length",
    "gradient_checkpointing": "batch.gradient_checkpointing",
    "torch_compile": "trainer.compile",
    "packing": "batch.packing",
    "max_grad_norm": "trainer.gradient_clip_val",
    "bf16": "trainer.precision=bf16-mixed",
    "fp16": "trainer.precision=16-mixed",
    "lora_r": "adapter.r",
    "lora_rank": "adapter.r",
    "r": "adapter.r",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_target": "adapter.targets",
    "target_modules": "adapter.targets",
    "finetuning_type": "adapter=",
    "beta": "strategy.beta",
    "stage": "strategy=",
    "model_name_or_path": "model=",
    "base_model": "model=",
    "dataset": "data=",
    "datasets": "data=",
    "train_file": "data=",
    "eval_dataset": "test=",
    "val_size": "validation.share.fraction",
    "template": "model.chat_template",
    "chat_template": "model.chat_template",
    "resume_from_checkpoint": "resume",
    "report_to": "logger=",
    "logging_steps": "trainer.log_every_n_steps",
    "save_steps": "checkpoint.every",
    "save_total_limit": "checkpoint.keep",
    "eval_steps": "trainer.val_check_interval",
    "neftune_noise_alpha": "regularization.neftune_alpha",
    "early_stopping_patience": "early_stopping.patience",
    "load_best_model_at_end": "early_stopping.best",
    "label_smoothing_factor": "strategy.label_smoothing",
    "mlm_probability": "strategy.probability",
    "cpo_alpha": "strategy.nll_weight",
    "simpo_gamma": "strategy.gamma",
    "gamma_beta_ratio": "strategy.gamma (the ratio times beta)",
    "pref_beta": "strategy.beta",
    "pref_loss": "strategy.loss_type",
    "loss_type": "strategy.loss_type",
    "loss_weights": "strategy.weights",
    "f_divergence_type": "strategy.divergence",
    "label_smoothing": "strategy.label_smoothing",
    "desirable_weight": "strategy.desirable_weight",
    "undesirable_weight": "strategy.undesirable_weight",
    "kto_chosen_weight": "strategy.desirable_weight",
    "kto_rejected_weight": "strategy.undesirable_weight",
    "num_generations": "strategy.generations",
    "num_iterations": "strategy.iterations",
    "max_completion_length": "strategy.max_tokens",
    "reward_funcs": "strategy.rewards",
    "reward_weights": "strategy.reward_weights",
    "scale_rewards": "strategy.scale_rewards",
    "epsilon": "strategy.epsilon",
    "epsilon_high": "strategy.epsilon_high",
    "mask_truncated_completions": "strategy.mask_truncated",
    "teacher_model_name_or_path": "strategy.teacher",
    "completion_only_loss": "strategy.loss_on",
    "train_on_inputs": "strategy.loss_on=all",
    "train_on_prompt": "strategy.loss_on=all",
    "assistant_only_loss": "strategy=instruction",
    "pt": "strategy=clm",
    "rm": "strategy=reward",
    "ppo": "strategy=grpo",
    "adamw_torch": "optimizer=adamw",
    "adamw_torch_fused": "optimizer=adamw",
    "adamw_hf": "optimizer=adamw",
    "adamw_bnb_8bit": "optimizer=adamw_8bit",
    "paged_adamw_8bit": "optimizer=adamw_8bit",
    "paged_adamw_32bit": "optimizer=adamw",
    "schedule_free_adamw": "optimizer=schedule_free",
    "constant_with_warmup": "scheduler=constant",
    "warmup_stable_decay": "scheduler=wsd",
    "quantization_bit": "adapter=qlora",
    "load_in_4bit": "adapter=qlora",
    "load_in_8bit": "adapter=qlora (4 bits)",
    "use_dora": "adapter.dora",
    "peft_use_dora": "adapter.dora",
    "use_rslora": "adapter.rslora",
    "peft_use_rslora": "adapter.rslora",
    "init_lora_weights": "adapter.init",
    "pissa_init": "adapter.init=pissa",
    "modules_to_save": "adapter.modules_to_save",
    "lora_modules_to_save": "adapter.modules_to_save",
    "additional_target": "adapter.modules_to_save",
    "num_virtual_tokens": "adapter.tokens",
    "freeze_trainable_layers": "adapter.last_layers",
    "freeze_trainable_modules": "adapter.train",
    "adapter_name_or_path": "model= (the adapter's folder, with model.adapter)",
    "attn_implementation": "model.attention",
    "flash_attn": "model.attention",
    "torch_dtype": "model.dtype",
    "per_device_eval_batch_size": "batch.size",
    "max_samples": "data.NAME.limit",
    "val_set_size": "validation.share.fraction",
    "eval_strategy": "trainer.val_check_interval",
    "evaluation_strategy": "trainer.val_check_interval",
    "save_strategy": "checkpoint.every",
    "data_seed": "seed",
    "ema_decay": "regularization.ema_decay",
    "gradient_clipping": "trainer.gradient_clip_val",
    "fsdp": "trainer=fsdp",
    "fsdp_config": "trainer=fsdp",
    "deepspeed": "trainer=fsdp (DeepSpeed is not here)",
}
"""Names from other tools → ours."""

ROOT_KEYS = tuple(f.name for f in dataclasses.fields(Run))


def familiar(name: str) -> str:
    """` Here it is …` for a name known from other tools, else an empty string."""
    ours = FAMILIAR.get(name.split(".")[-1])
    return f" Here it is called {ours}." if ours else ""


def _not_null(key: str, node: Any) -> ConfigError:
    """The error for a null where none may stand; `node` is what stands there."""
    if isinstance(node, DictConfig):
        keys = ", ".join(f"{key}.{name}" for name in map(str, node))
        instead = f"; leave checks out with '{key}.skip=[…]'" if key == "audit" else ""
        return ConfigError(f"{key}=null: holds several keys and cannot be null{instead}\n  set them one by one: {keys}")
    instead = f"a list; for none write '{key}=[]'" if isinstance(node, ListConfig) else "needed; null is no value of it"
    return ConfigError(f"{key}=null: is {instead}")


def unknown_key(key: str, allowed: Iterable[str], catalogue: Catalogue, place: str = "") -> ConfigError:
    """The error for a key that nothing in the config has; `place` is what stands before the key."""
    allowed = list(allowed)
    parent, _, last = key.rpartition(".")
    known = _other_owner(key, catalogue) or familiar(key)
    if known:
        return ConfigError(f"{place}{key}: there is no such key.{known}")
    names = f"allowed {f'under {parent}' if parent else 'here'}: {', '.join(sorted(allowed)) or 'none'}"
    return ConfigError(f"{place}{key}: there is no such key.{nearest(last, allowed)}\n  {names}")


def _open(node: Any) -> bool:
    """Whether a node of the config is a dict in which names are free."""
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is dict


def _adding(key: str, node: Any) -> str:
    """How to add something under a free name."""
    kind = getattr(getattr(node, "_metadata", None), "element_type", None)
    group = next((group for group, base in KINDS.items() if base is kind), "")
    return f"add it with +{group}@{key}=NAME" if group else f"add it with +{key}=VALUE"


def _other_owner(key: str, catalogue: Catalogue) -> str:
    """Names the components of the same group that do have the field, or the one that must be chosen."""
    group, *rest = key.split(".")
    home = "data" if group in ("validation", "test") else group
    if home not in KINDS or not rest:
        return ""
    if group in SEVERAL and len(rest) == 1 and f"{home}/{rest[0]}" in catalogue.owners:
        return f" '{rest[0]}' is not among the chosen {group}: choose it with +{group}={rest[0]}."
    owners = [
        cls.name
        for ref, cls in catalogue.components.items()
        if ref.startswith(f"{home}/") and rest[-1] in {f.name for f in dataclasses.fields(cls)}
    ]
    names = ", ".join(f"{group}={owner}" for owner in owners)
    verb = "have" if len(owners) > 1 else "has"
    return f" The chosen {group} does not have it; {names} {verb}." if owners else ""


def unknown_option(group: str, option: str, catalogue: Catalogue) -> ConfigError:
    """The error for a choice that no installed distribution offers."""
    options = catalogue.options(group)
    return ConfigError(
        f"{group}={option}: there is no such {group}.{familiar(option) or nearest(option, options)}\n"
        f"  installed: {', '.join(options) or 'none'}{catalogue.suspects()}"
    )


def readable(error: BaseException, catalogue: Catalogue) -> ConfigError:
    """The message for whatever Hydra or OmegaConf raised while composing."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).strip() or str(error)
    if missing := re.search(r"Could not (?:find|load) '(?P<group>[\w/]+)/(?P<option>[^'/]+)'", text):
        return unknown_option(missing["group"], missing["option"], catalogue)
    key = str(getattr(cause, "full_key", None) or getattr(cause, "key", None) or "")
    if "is not in struct" in text or ("Key '" in text and "' not in '" in text):
        parent = getattr(cause, "parent_node", None)
        if _open(parent) and not _other_owner(key, catalogue):
            return ConfigError(f"{key}: nothing of that name is there yet; {_adding(key, parent)}")
        return unknown_key(key, [str(k) for k in parent] if parent is not None else ROOT_KEYS, catalogue)
    if base := re.search(r"is not a subclass of (?P<kind>\w+)", text):
        group = next((group for group, kind in KINDS.items() if kind.__name__ == base["kind"]), base["kind"])
        return ConfigError(
            f"{key}: values are set, but no {group} is chosen there; choose one first with +{group}@PLACE.{key}=NAME"
        )
    if wrong := re.search(r"Invalid value '(?P<found>[^']*)', expected one of \[(?P<allowed>.*)\]", text):
        allowed = wrong["allowed"].split(", ")
        near = nearest(wrong["found"], allowed)
        return ConfigError(f"{key}={wrong['found']}: no such value.{near}\n  allowed: {', '.join(allowed)}")
    if "is not a ListConfig, list or tuple" in text and key:
        found = getattr(cause, "value", None)
        item = "" if found is None else str(found)
        quoted = item if re.fullmatch(r"[\w./:@,*+-]*", item) else f'"{item}"'
        return ConfigError(f"{key}{'' if found is None else f'={item}'}: is a list; write '{key}=[{quoted}]'")
    if "is not Optional" in text and key:
        parent = getattr(cause, "parent_node", None)
        return _not_null(key, parent._get_node(key.split(".")[-1]) if isinstance(parent, DictConfig) else None)
    if isinstance(cause, OmegaConfBaseException) and key:
        return ConfigError(f"{key}: {text.splitlines()[0]}")
    if "Could not override" in text and (found := re.search(r"Could not override '([^']+)'", text)):
        return unknown_key(found[1], (*ROOT_KEYS, *GROUPS), catalogue)
    return ConfigError(" ".join(text.split()) if text.count("\n") < 3 else text.splitlines()[0])
