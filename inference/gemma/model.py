"""Gemma 3 by plain `transformers`, with its sites open: what is read and what is changed are tensors of its own pass.

The multimodal sizes are loaded as text models, their vision tower left on disk. Batches are padded on the right and
need no mask: attention is causal, so what stands at the real positions does not depend on the padding.
One pass at a time: see `hooks`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, Gemma3Config, Gemma3ForCausalLM, Gemma3TextConfig
from transformers.utils import logging as transformers_logging

from inference.errors import BadInput
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.hooks import Stop, Watcher, watching
from inference.gemma.precision import choose_device, choose_dtype
from inference.gemma.sites import KINDS, Site
from inference.gemma.tokens import Tokenizer

# Where the text model stands in a multimodal checkpoint, in today's files and in those first published.
_TEXT_MODEL_KEYS = {r"^(model\.)?language_model\.(model\.)?": "model."}

NO_EDITS: Mapping[Site, Watcher] = {}


class Gemma:
    """A loaded Gemma 3."""

    def __init__(
        self, *, checkpoint: Checkpoint, tokenizer: Tokenizer, network: Gemma3ForCausalLM, device: torch.device
    ) -> None:
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.network = network
        self.device = device
        self.trunk = network.model
        self.layers = cast(nn.ModuleList, self.trunk.layers)
        config = network.config
        self.n_layers: int = config.num_hidden_layers
        self.d_model: int = config.hidden_size
        self.attn_width: int = config.num_attention_heads * config.head_dim
        self.dtype: torch.dtype = network.dtype

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto") -> "Gemma":
        on = choose_device(device)
        tokenizer = Tokenizer.from_folder(checkpoint.folder)
        network = _load_network(checkpoint.folder, choose_dtype(dtype, on))
        return cls(checkpoint=checkpoint, tokenizer=tokenizer, network=_on(network, on), device=on)

    def site_width(self, site: Site) -> int:
        return self.attn_width if site.kind == "attn_out" else self.d_model

    def check_site(self, site: Site) -> None:
        if site.kind not in KINDS or not 0 <= site.layer < self.n_layers:
            raise BadInput(f"{site} is not a site of this model, whose layers go from 0 to {self.n_layers - 1}.")

    @torch.no_grad()
    def read_sites(
        self, ids: Tensor, sites: Collection[Site], *, edits: Mapping[Site, Watcher] = NO_EDITS
    ) -> dict[Site, Tensor]:
        """Tensors [B, T, width] of the asked sites, in the trunk's dtype, as they are after any edit. The pass stops
        at the deepest of them."""
        for site in (*sites, *edits):
            self.check_site(site)
        if not sites:
            return {}
        deepest = max(sites, key=lambda site: site.depth)
        read: dict[Site, Tensor] = {}

        def reader(site: Site) -> Watcher:
            edit = edits.get(site)
            last = site == deepest

            def watch(value: Tensor) -> Tensor | None:
                changed = None if edit is None else edit(value)
                read[site] = value if changed is None else changed
                if last:
                    raise Stop
                return changed

            return watch

        watchers = {**edits, **{site: reader(site) for site in sites}}
        try:
            with watching(self.layers, watchers):
                self.trunk(input_ids=self.on_device(ids), use_cache=False)
        except Stop:
            pass
        return {site: read[site] for site in sites}

    @torch.no_grad()
    def final_hidden(self, ids: Tensor, *, edits: Mapping[Site, Watcher] = NO_EDITS) -> Tensor:
        """What the vocabulary head reads, after the final norm: [B, T, d_model]. For logits in chunks, by `unembed`."""
        for site in edits:
            self.check_site(site)
        with watching(self.layers, edits):
            return cast(Tensor, self.trunk(input_ids=self.on_device(ids), use_cache=False).last_hidden_state)

    @torch.no_grad()
    def logits(
        self, ids: Tensor, *, last_positions: Tensor | None = None, edits: Mapping[Site, Watcher] = NO_EDITS
    ) -> Tensor:
        """Next-token logits [B, T, vocabulary]; with `last_positions` [B] only those, as [B, vocabulary].

        An edit is called with its site's tensor [B, T, width] and returns what to go on with, or None."""
        hidden = self.final_hidden(ids, edits=edits)
        if last_positions is not None:
            rows = torch.arange(hidden.shape[0], device=hidden.device)
            hidden = hidden[rows, last_positions.to(hidden.device)]
        return self.unembed(hidden)

    def final_norm(self, x: Tensor) -> Tensor:
        """The norm between the last layer's resid_post and the vocabulary head."""
        return cast(Tensor, self.trunk.norm(x))

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits of vectors that went through the final norm."""
        return cast(Tensor, self.network.lm_head(hidden))

    @property
    def unembedding(self) -> Tensor:
        """[vocabulary, d_model], tied to the embedding."""
        return cast(Tensor, self.network.lm_head.weight).detach()

    def on_device(self, ids: Tensor) -> Tensor:
        """Token ids, checked, where the model is."""
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise BadInput(
                f"Token ids come as a table [prompts, tokens] with at least one token, not {tuple(ids.shape)}."
            )
        return ids.to(self.device)


def _on(network: Gemma3ForCausalLM, device: torch.device) -> Gemma3ForCausalLM:
    nn.Module.to(network, device)
    return network


def _load_network(folder: Path, dtype: torch.dtype) -> Gemma3ForCausalLM:
    config: Any = AutoConfig.from_pretrained(folder)
    if isinstance(config, Gemma3Config):
        config = config.text_config
        key_mapping = _TEXT_MODEL_KEYS
    elif isinstance(config, Gemma3TextConfig):
        key_mapping = None
    else:
        raise BadInput(f"{folder} holds a {config.model_type} model. Gemlens reads Gemma 3 (gemma3, gemma3_text).")
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        loaded: Any = Gemma3ForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            key_mapping=key_mapping,
            attn_implementation="sdpa",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise BadInput(f"The weights in {folder} are damaged or cut short: {error}.") from error
    network, report = loaded
    # transformers fills what it did not find with random numbers.
    wrong = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if wrong:
        raise BadInput(
            f"The weights in {folder} do not fit its config.json: {len(wrong)} tensors are missing or of another "
            f"shape, {wrong[0]} among them."
        )
    network.train(False)
    network.requires_grad_(False)
    return cast(Gemma3ForCausalLM, network)
