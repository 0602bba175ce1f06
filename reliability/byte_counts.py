"""Random texts in many scripts through tokenizers of three sizes: the byte table sums to the bytes of the decoded text,
or the text is refused and the message names the piece where the sums part.

python -m reliability byte_counts --count 10000 --seed 0
"""

from __future__ import annotations

import io
import random
import time
from collections import Counter
from typing import Any

import numpy as np
import sentencepiece

from golfpipe.data.text_changes import STEPS, text_changes
from golfpipe.data.tokenizer import Tokenizer, check_byte_table, train_tokenizer
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import target_bytes
from reliability.specimens import texts

SIZES = {300: (), 700: ("greek", "cyrillic"), 1500: ("greek", "cyrillic", "kana", "thai", "hangul jamo")}
"""Pieces of the tokenizers -> scripts that they have pieces for beside latin; the rest of every text falls to bytes."""
SCRIPTS = {
    "latin": (0x41, 0x17F), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x4FF), "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x620, 0x6FF), "devanagari": (0x900, 0x97F), "thai": (0xE00, 0xE7F), "tibetan": (0xF00, 0xFFF),
    "hangul jamo": (0x1100, 0x11FF), "kana": (0x3040, 0x30FF), "han": (0x4E00, 0x9FFF), "hangul": (0xAC00, 0xD7A3),
    "private use": (0xE000, 0xF8FF), "han compatibility": (0xF900, 0xFAFF), "presentation forms": (0xFB00, 0xFDFF),
    "halfwidth": (0xFF00, 0xFFEF), "specials": (0xFFF0, 0xFFFD), "gothic": (0x10330, 0x1034A),
    "mathematical": (0x1D400, 0x1D7FF), "emoji": (0x1F300, 0x1FAFF), "tags": (0xE0000, 0xE007F),
    "control": (0x00, 0x1F), "c1 control": (0x7F, 0x9F), "spaces": (0x2000, 0x200F), "combining": (0x300, 0x36F),
    "enclosed": (0x2460, 0x24FF), "superscripts": (0x2070, 0x209C), "variation": (0xFE00, 0xFE0F),
    "box": (0x2500, 0x259F), "anything": (0x20, 0x10FFFF),
}  # fmt: skip
BYTES = {"byte_fallback": True, "hard_vocab_limit": False}
ODD: dict[str, dict[str, Any]] = {
    "no byte pieces": {"byte_fallback": False, "vocab_size": 120},
    "no dummy prefix": {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
    "text as it is": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "symbols of its own": {"user_defined_symbols": ["<|endoftext|>", "\u2581\u2581", "\u00e9", "\U0001f600"]},
    "control symbols in text": {"control_symbols": ["<|endoftext|>"], "treat_whitespace_as_suffix": False},
    "space behind words": {"treat_whitespace_as_suffix": True},
}
"""Options of tokenizers that golfpipe does not train, which somebody may bring."""
SPECIAL = (
    " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2581", "\u2581\u2581", "\ufeff", "\u200b", "\u200d",
    "\u00ad", "\u2028", "\x00", "\x85", "\ufb01", "\u2460", "\u212b", "e\u0301", "\u1e9e", "\u0130", "\ufdfa",
    "\u0344", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "<s>", "</s>", "<unk>", "<pad>",
    "<0x41>", "<0xFF>", "<|endoftext|>", "A\u030a", "\u0e33", "\uff21",
)  # fmt: skip


def run(count: int, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    tokenizers = {f"{size} pieces": _tokenizer(size) for size in SIZES}
    tokenizers |= {name: _odd_tokenizer(**options) for name, options in ODD.items()}
    outcomes = {name: Counter[str]() for name in tokenizers}
    failures: list[str] = []
    total = 0
    for index in range(count):
        text = random_text(random.Random(f"{seed}:{index}"))
        for name, tokenizer in tokenizers.items():
            outcome, failure, num_bytes = _check(tokenizer, text)
            outcomes[name][outcome] += 1
            total += num_bytes
            if failure:
                failures.append(f"{index}, {name}: {failure}")
    return {
        "texts": count,
        "decoded_bytes": total,
        "outcomes": {name: dict(found) for name, found in outcomes.items()},
        "failures": failures[:20],
        "failure_count": len(failures),
        "check_seconds": round(time.perf_counter() - started, 1),
    }


def random_text(rng: random.Random) -> str:
    """Runs of one script each, with special characters between them. No lone surrogates: those are no text."""
    parts: list[str] = []
    for _ in range(rng.randint(1, 8)):
        low, high = SCRIPTS[rng.choice(list(SCRIPTS))]
        run = [chr(rng.randint(low, high)) for _ in range(rng.choice((1, 2, 5, 20)))]
        parts += [character for character in run if not 0xD800 <= ord(character) <= 0xDFFF]
        if rng.random() < 0.7:
            parts.append(rng.choice(SPECIAL))
    return "".join(parts)


def _tokenizer(size: int) -> Tokenizer:
    rng = random.Random(size)
    varied = ["".join(chr(rng.randint(*SCRIPTS[name])) for _ in range(40)) for name in SIZES[size] * 20]
    return train_tokenizer([*texts(120, seed=1), *varied], vocab_size=size, normalization="nmt_nfkc")


def _odd_tokenizer(**options: Any) -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts(120, seed=1)), model_writer=model, model_type="bpe", 
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, num_threads=1, minloglevel=3, **({"vocab_size": 340} | BYTES | options),
    )  # fmt: skip
    return Tokenizer(model.getvalue())


def _check(tokenizer: Tokenizer, text: str) -> tuple[str, str | None, int]:
    """(outcome, what is wrong or None, bytes)."""
    (ids,) = tokenizer.encode([text])
    decoded = len(tokenizer.decode(ids).encode("utf-8"))
    counted = int(target_bytes(tokenizer.byte_table, ids[:-1], ids[1:]).sum(dtype=np.int64))
    try:
        checked = check_byte_table(tokenizer, [ids])
    except DataError as error:
        if counted == decoded:
            return "refused", f"refused although {counted} bytes are right: {error.message}", 0
        if " piece " not in error.message or "(id " not in error.message:
            return "refused", f"the message names no piece: {error.message}", 0
        return "refused, piece named", None, 0
    if not counted == decoded == checked:
        return "taken in", f"{text!a}: counted {counted}, decoded {decoded}, checked {checked}", 0
    changes = text_changes(text, tokenizer.decode(ids), tokenizer)
    stated = sum(changes[step] for step in STEPS)
    if len(text.encode("utf-8")) - counted != stated:
        return "taken in", f"{text!a}: counted {counted}, of which {stated} fewer than the source are stated", 0
    return "equal", None, decoded
