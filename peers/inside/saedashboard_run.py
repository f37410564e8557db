"""In SAEDashboard's environment: dashboards of every feature of one dictionary, on given tokens.

Its own runner does all of it, with its own model (TransformerLens) and dictionary (SAELens) read from the files that
Gemlens reads. Activations are cached, so that the model runs once and not once for each batch of features. Loading the
model, which takes it minutes, is told apart. It works through features in batches of 256, each by itself; so many are
run as asked for, and the time of the others is that of the last. What asks the hub gets the same files from the disk.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from sae_dashboard.components_config import (
    ActsHistogramConfig,
    FeatureTablesConfig,
    LogitsHistogramConfig,
    LogitsTableConfig,
    SequencesConfig,
)
from sae_dashboard.layout import Column, SaeVisLayoutConfig
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE, HookedSAETransformer
from sae_lens.loading import pretrained_sae_loaders as loaders
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

BATCH = 256
"""Its own choice."""


def main(model, name, root, folder, hook, tokens, bos, top, groups, threads, out, batches=2):
    torch.set_num_threads(threads)
    start = time.perf_counter()
    network, sae = network_of(model, name), dictionary_of(root, folder)
    loaded = time.perf_counter()
    ids = torch.from_numpy(np.load(tokens)).long()
    layout = SaeVisLayoutConfig(
        columns=[
            Column(FeatureTablesConfig()),
            Column(ActsHistogramConfig(), LogitsTableConfig(), LogitsHistogramConfig()),
            # whole passages, as Gemlens keeps them
            Column(SequencesConfig(buffer=None, top_acts_group_size=top, n_quantiles=groups, quantile_group_size=5)),
        ]
    )
    with tempfile.TemporaryDirectory() as cache:
        found = np.full((sae.cfg.d_sae, top, 3), -1.0)
        taken = []
        for first in range(0, min(batches * BATCH, sae.cfg.d_sae), BATCH):
            begun = time.perf_counter()
            config = SaeVisConfig(
                hook_point=hook, features=range(first, min(first + BATCH, sae.cfg.d_sae)), minibatch_size_tokens=16,
                minibatch_size_features=BATCH, ignore_tokens={bos}, feature_centric_layout=layout,
                cache_dir=Path(cache),
            )  # fmt: skip
            data = SaeVisRunner(config).run(encoder=sae, model=network, tokens=ids)
            data.save_json(Path(cache) / "dashboards.json")
            taken.append(time.perf_counter() - begun)
            strongest(data, found)
            size = (Path(cache) / "dashboards.json").stat().st_size
    np.save(out, found)
    seconds = sum(taken) + taken[-1] * (sae.cfg.d_sae / BATCH - len(taken))
    facts = {"seconds": seconds, "batch_seconds": taken, "loading_seconds": loaded - start, "batch_bytes": size}
    print(json.dumps({**facts, "run_features": len(taken) * BATCH}))


def strongest(data, found):
    """Into [features, top, 3]: passage, position and value of the first group; -1 where it has fewer."""
    for feature, one in data.feature_data_dict.items():
        for place, shown in enumerate(one.sequence_data.seq_group_data[0].seq_data):
            position = shown.qualifying_token_index
            # without BOS, which a whole passage is shown without
            found[feature, place] = shown.original_index, position, shown.feat_acts[position - 1]
    return found


def network_of(folder, name):
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as saved:
        special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
        PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", **special).save_pretrained(saved)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(saved)
        return HookedSAETransformer.from_pretrained_no_processing(
            name, hf_model=network, tokenizer=tokenizer, device="cpu", dtype=torch.float32
        )


def dictionary_of(root, folder):
    def download(repo_id, filename, subfolder=None, **_):
        return str(Path(root, subfolder or "", filename))

    def shapes(repo_id, filename, **_):
        with safe_open(Path(root, filename), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    loaders.hf_hub_download, loaders.get_safetensors_tensor_shapes = download, shapes
    config, state, _ = loaders.gemma_3_sae_huggingface_loader("google/gemma-scope-2-270m-pt", folder)
    return SAE.load_from_disk(folder, converter=lambda *_, **__: (config, state))


main(**json.loads(sys.argv[1]))
