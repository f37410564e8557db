"""In SAELens' environment: trains its BatchTopK SAE on given activations, with its own trainer.

Two things are set apart from its defaults, both in its favour: the mean of the data, which in Gemma 3 holds nearly all
of the norm, is taken away before it scales and trains, and the threshold follows faster, because the run is short.
"""

import json
import sys

import numpy as np
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer


def batches(path, *, mean, size, seed):
    """Rows without their mean, in a new order each time round, whole batches only."""
    rows = np.load(path, mmap_mode="r")
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(rows))
        for start in range(0, len(rows) - size + 1, size):
            yield torch.from_numpy(rows[np.sort(order[start : start + size])] - mean)


def main(activations, out, width, l0, steps, batch, rate, decay_steps, warm_up_steps, dead_after_steps, threads, seed):
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rows = np.load(activations, mmap_mode="r")
    mean = rows[:65536].mean(axis=0)
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=rows.shape[1], d_sae=width, k=l0, topk_threshold_lr=0.05, apply_b_dec_to_input=True,
            normalize_activations="expected_average_only_in",
        )
    )  # fmt: skip
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=steps * batch, train_batch_size_samples=batch, lr=rate, lr_end=rate / 10,
            lr_warm_up_steps=warm_up_steps, lr_decay_steps=decay_steps, dead_feature_window=dead_after_steps,
            n_batches_for_norm_estimate=20,
        ),
        sae,
        batches(activations, mean=mean, size=batch, seed=seed),
    )  # fmt: skip
    sae = trainer.fit()
    with torch.no_grad():
        norm = sae.W_dec.norm(dim=1)
        # its encoder reads x - mean - b_dec, and its features count in lengths of the decoder
        w_enc = sae.W_enc * norm
        middle = sae.b_dec + torch.from_numpy(mean)
        b_enc = (sae.b_enc - middle @ sae.W_enc) * norm
        threshold = sae.topk_threshold.float().expand(width)
    np.savez(
        out, w_enc=w_enc.numpy(), b_enc=b_enc.numpy(), threshold=threshold.numpy(),
        w_dec=(sae.W_dec / norm[:, None]).detach().numpy(), b_dec=middle.numpy(),
    )  # fmt: skip
    print(json.dumps({"scaled": trainer.activation_scaler.scaling_factor is None}))


main(**json.loads(sys.argv[1]))
