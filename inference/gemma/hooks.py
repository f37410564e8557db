"""Watching and changing sites during a forward pass, with plain forward hooks on `transformers`' modules.

A watcher is called with a site's tensor and may return another to go on with; returning None leaves the pass as it
is, bit for bit. Hooks belong to the module and not to the call, so one network runs one pass at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from inference.gemma.sites import Site

Watcher = Callable[[Tensor], Tensor | None]


class Stop(Exception):
    """Ends a forward pass where nothing further is wanted. Never seen outside this package."""


@contextmanager
def watching(layers: nn.ModuleList, watchers: Mapping[Site, Watcher]) -> Iterator[None]:
    """Calls each watcher when its site is reached, for as long as the context is open."""
    handles: list[RemovableHandle] = []
    try:
        for site, watcher in watchers.items():
            handles.append(_attach(layers[site.layer], site.kind, watcher))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attach(layer: nn.Module, kind: str, watcher: Watcher) -> RemovableHandle:
    def on_input(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return watcher(inputs[0])

    def on_output(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return watcher(output)

    if kind == "attn_out":
        return layer.get_submodule("self_attn.o_proj").register_forward_pre_hook(on_input)
    if kind == "mlp_in":
        return layer.get_submodule("pre_feedforward_layernorm").register_forward_hook(on_output)
    if kind == "mlp_out":
        return layer.get_submodule("post_feedforward_layernorm").register_forward_hook(on_output)
    return layer.register_forward_hook(on_output)
