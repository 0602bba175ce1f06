"""Drawing text from the network, one token at a time."""

# Shapes: T tokens so far, V vocabulary

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from golfpipe.errors import StageFailed
from golfpipe.model.network import Network


def sampling_probabilities(logits_V: Tensor, temperature: float, top_k: int) -> Tensor:
    """Return the probabilities with which each token is drawn, fp32 [V]. Temperature 0 always draws the likeliest one.

    Only the `top_k` likeliest tokens have a chance; 0 keeps all. Ties at the k-th place are all kept, so that the
    result does not depend on the order of a sort.
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
    """Yield `count` tokens that follow the prompt, one by one as they are drawn. The prompt has at least one token.
    Raises StageFailed for weights that give no probabilities.

    The network sees the last `context_length` tokens; tokens in `banned` are never drawn. The random numbers come from
    the host, so that all devices draw alike.
    """
    assert len(prompt) > 0
    generator = torch.Generator().manual_seed(seed)
    device = network.token_embedding.weight.device
    tokens = list(prompt)
    for _ in range(count):
        # inference_mode is entered for each token: a generator must not leave it on while its caller runs.
        with torch.inference_mode():
            window_1T = torch.tensor([tokens[-context_length:]], dtype=torch.int64, device=device)
            logits_V = network.logits(network.hidden(window_1T)[0, -1]).float().cpu()
            logits_V[list(banned)] = -torch.inf
            if logits_V.isnan().any():
                raise StageFailed("the model gives no probabilities: its training diverged, or its weights are damaged")
            probabilities_V = sampling_probabilities(logits_V, temperature, top_k)
            token = int(torch.multinomial(probabilities_V, 1, generator=generator))
        tokens.append(token)
        yield token
