"""Drawing text from the network, one token at a time."""

# Shapes: T tokens so far, V vocabulary

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from golfpipe.model.network import Network


def sampling_probabilities(logits_V: Tensor, temperature: float, top_k: int) -> Tensor:
    """fp32 [V] that sum to one. Temperature 0 takes the likeliest token; `top_k` 0 keeps all, else the k likeliest.

    Ties at the k-th place are all kept, so that the result does not depend on the order of a sort.
    """
    logits_V = logits_V.float()
    if temperature == 0:
        return torch.zeros_like(logits_V).index_fill_(0, logits_V.argmax(), 1.0)
    if 0 < top_k < len(logits_V):
        least = logits_V.topk(top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, -torch.inf)
    return (logits_V / temperature).softmax(-1)


def sample_tokens(
    network: Network,
    prompt: Sequence[int],
    *,
    count: int,
    temperature: float,
    top_k: int,
    context_length: int,
    seed: int,
    banned: Sequence[int] = (),
) -> Iterator[int]:
    """`count` tokens after the prompt (at least one token), as they are drawn. The network sees the last
    `context_length` tokens; `banned` ones are never drawn. Draws come from the host, so that devices agree on them.
    """
    assert len(prompt) > 0
    generator = torch.Generator().manual_seed(seed)
    device = network.token_embedding.weight.device
    tokens = list(prompt)
    for _ in range(count):
        # A call of inference_mode per token: a generator must not hold the mode open while its caller runs.
        with torch.inference_mode():
            window_1T = torch.tensor([tokens[-context_length:]], dtype=torch.int64, device=device)
            logits_V = network.logits(network.hidden(window_1T)[0, -1]).float().cpu()
            logits_V[list(banned)] = -torch.inf
            probabilities_V = sampling_probabilities(logits_V, temperature, top_k)
            token = int(torch.multinomial(probabilities_V, 1, generator=generator))
        tokens.append(token)
        yield token
