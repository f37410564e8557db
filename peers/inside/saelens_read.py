"""In SAELens' environment: reads a folder of Gemma Scope 2 by its own converter, and encodes with it.

Its converter asks the hub; here its two ways of asking read the folder instead, and nothing else is changed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders
from safetensors import safe_open


def main(root, folder, activations, out):
    def download(repo_id, filename, subfolder=None, **_):
        return str(Path(root, subfolder or "", filename))

    def shapes(repo_id, filename, **_):
        with safe_open(Path(root, filename), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    loaders.hf_hub_download, loaders.get_safetensors_tensor_shapes = download, shapes
    config, state, _ = loaders.gemma_3_sae_huggingface_loader("google/gemma-scope-2-270m-pt", folder)
    sae = SAE.load_from_disk(folder, converter=lambda *_, **__: (config, state))
    with torch.no_grad():
        x = torch.from_numpy(np.load(activations))
        features = sae.encode(x)
        decoded = sae(x) if sae.cfg.architecture() != "jumprelu" else sae.decode(features)
    np.savez(out, features=features.numpy(), decoded=decoded.numpy())
    print(json.dumps({"architecture": sae.cfg.architecture(), "hook": sae.cfg.metadata.hf_hook_name}))


main(**json.loads(sys.argv[1]))
