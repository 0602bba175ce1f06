"""Scoring methods as a user writes them: the text of Python files, honest ones and one for each way to break a rule.

Not a test: the tests show that the former pass and that each of the latter is caught. All begin from the template.
"""

from __future__ import annotations

from golfpipe.submission.trial.file_scorer import TEMPLATE

COUNTS = TEMPLATE.read_text(encoding="utf-8")
LEARNS = (
    COUNTS
    + '''
probabilities = None


def learn(tokens, targets, nats, pairs, single):
    """Score targets, and count each pair once it has its score."""
    for target in targets.tolist():
        before, token = int(tokens[target]), int(tokens[target + 1])
        follows = pairs.setdefault(before, np.zeros(VOCAB_SIZE))
        nats[target] = -np.log((follows[token] + single[token] / single.sum()) / (follows.sum() + 1))
        follows[token] += 1
        single[token] += 1
'''
)
SCORES_ALONE = (
    LEARNS
    + """

def honest(tokens):
    nats = np.empty(len(tokens) - 1)
    learn(tokens, np.arange(len(nats)), nats, {}, np.full(VOCAB_SIZE, 1 / VOCAB_SIZE))
    return nats


score = honest
"""
)

DOCUMENTS = (
    LEARNS
    + '''
BOS = MANIFEST["metrics"]["bos_id"]


def documents(tokens):
    """The targets of each document, in the order of the text."""
    starts = np.unique(np.append(0, np.flatnonzero(tokens[:-1] == BOS)))
    return np.split(np.arange(len(tokens) - 1), starts[1:])


def order(tokens):
    return np.concatenate(plan(tokens))


def score(tokens):
    nats, pairs, single = np.empty(len(tokens) - 1), {}, np.full(VOCAB_SIZE, 1 / VOCAB_SIZE)
    for targets in plan(tokens):
        if RESETS:
            pairs, single = {}, np.full(VOCAB_SIZE, 1 / VOCAB_SIZE)
        learn(tokens, targets, nats, pairs, single)
    return nats
'''
)
LONGEST_FIRST = """
def plan(tokens):
    return sorted(documents(tokens), key=len, reverse=True)
"""

HONEST = {
    "counts that learn after each score": COUNTS,
    "scores alone": SCORES_ALONE,
    "longest document first, with a state of its own": f"{DOCUMENTS}\nRESETS = True\n{LONGEST_FIRST}",
    "longest document first, all of them learned from": f"{DOCUMENTS}\nRESETS = False\n{LONGEST_FIRST}",
    "two phases, the second with what the first one learned": DOCUMENTS
    + """
RESETS = False


def plan(tokens):
    found = documents(tokens)
    return found[::2] + found[1::2]
""",
}

FILE_BONUS = """
def histogram():
    path = next(Path(os.environ["GOLFPIPE_DATA"]).glob("*val_*.bin"))
    return 0.01 * np.log1p(np.bincount(np.fromfile(path, dtype="<u2", offset=1024), minlength=VOCAB_SIZE))
"""

DISHONEST = {
    "a token is likelier by the one after it": (
        SCORES_ALONE + "\ndef score(tokens):\n    return honest(tokens) - 0.01 * (np.append(tokens[2:], 0) % 2 == 0)\n",
        4,
        r"with all tokens after a cut replaced, at 8 cuts, \d+ of [\d,]+ scores change, by up to 0\.01 nats",
    ),
    "a chunk is scored with counts of the next one": (
        SCORES_ALONE
        + """
def score(tokens):
    nats = honest(tokens)
    for start in range(0, len(nats), 64):
        later = np.bincount(tokens[start + 65 : start + 129], minlength=VOCAB_SIZE)
        nats[start : start + 64] -= 0.01 * later[tokens[start + 1 : start + 65]]
    return nats
""",
        4,
        r"\d+ of [\d,]+ scores change",
    ),
    "tokens that are frequent in the validation file": (
        SCORES_ALONE + FILE_BONUS + "\ndef score(tokens):\n    return honest(tokens) - histogram()[tokens[1:]]\n",
        4,
        r"[\d,]+ of [\d,]+ scores change",
    ),
    "the same, read once when the program begins": (
        SCORES_ALONE
        + FILE_BONUS
        + "\nBONUS = histogram()\n\n\ndef score(tokens):\n    return honest(tokens) - BONUS[tokens[1:]]\n",
        4,
        r"a process finds other tokens .* scores change, .*: something was read or kept from the whole text",
    ),
    "the better of two scores": (
        SCORES_ALONE + "\ndef score(tokens):\n    return np.minimum(honest(tokens), np.log(VOCAB_SIZE))\n",
        5,
        r"the probabilities sum to 1\.\d+",
    ),
    "probabilities that do not sum to one": (
        SCORES_ALONE + "\ndef score(tokens):\n    return 0.98 * honest(tokens)\n",
        5,
        r"with each of 384 tokens put in the target's place, the probabilities sum to 1\.\d+",
    ),
    "the target is learned from before it is scored": (
        COUNTS.replace("        yield (", "        follows[token] += 1\n        yield ("),
        3,
        r"has seen a token before it scores it: .* 384 tokens get probabilities that sum to \d+",
    ),
    "a score is missing": (
        SCORES_ALONE + "\ndef score(tokens):\n    return honest(tokens)[:-1]\n",
        3,
        r"1,127 scores were made for 1,128 targets, of which 1,127 have one",
    ),
    "scores that are no numbers": (
        SCORES_ALONE + "\ndef score(tokens):\n    nats = honest(tokens)\n    nats[49::50] = np.nan\n    return nats\n",
        3,
        r"1,106 scores were made for 1,128 targets, of which 1,106 have one",
    ),
    "more scores than targets": (
        SCORES_ALONE + "\ndef score(tokens):\n    return np.repeat(honest(tokens), 2)\n",
        3,
        r"2,256 scores were made for 1,128 targets",
    ),
    "an order by what stands in the documents": (
        DOCUMENTS
        + """
RESETS = True


def plan(tokens):
    return sorted(documents(tokens), key=lambda targets: int(tokens[targets + 1].sum()))
""",
        4,
        r"order\(\) looks at text that is scored later: .* another order before it at \d of 8 cuts",
    ),
    "a second phase that scores the first one again": (
        HONEST["two phases, the second with what the first one learned"]
        + """
once = score


def score(tokens):
    nats, again = once(tokens), once(np.concatenate((tokens, tokens)))[len(tokens) :]
    early = np.concatenate(documents(tokens)[::2])
    nats[early] = again[early]
    return nats
""",
        4,
        r"with everything replaced that is scored after a cut, at 8 cuts, [\d,]+ of [\d,]+ scores change",
    ),
    "what one call learned is there in the next": (
        SCORES_ALONE
        + """
calls = []


def score(tokens):
    calls.append(tokens)
    return honest(tokens) - 0.001 * len(calls)
""",
        4,
        r"the same text scored twice differs by [\d.]+ nats, .*: something is kept from one text to the next",
    ),
    "what the first call of all learned is there in all others": (
        SCORES_ALONE
        + """
seen = []


def score(tokens):
    if not seen:
        seen.append(np.bincount(tokens, minlength=VOCAB_SIZE))
        return honest(tokens)
    return honest(tokens) - 0.01 * seen[0][tokens[1:]]
""",
        4,
        r"the same text scored twice differs by [\d.]+ nats, .*: something is kept from one text to the next",
    ),
    "a rate that falls to the end of the text": (
        SCORES_ALONE + "\ndef score(tokens):\n    return honest(tokens) * np.linspace(1.01, 1, len(tokens) - 1)\n",
        4,
        r"without the last third of the text, [\d,]+ of [\d,]+ scores change",
    ),
    "other probabilities than the scores": (
        COUNTS + "\nhonest = score\n\n\ndef score(tokens):\n    return honest(tokens) + 0.5\n",
        5,
        r"probabilities\(\) at 100 positions .* gives the targets their scores within 5\.0e-01 nats",
    ),
    "probabilities that know their target": (
        COUNTS
        + """
def probabilities(tokens, targets):
    return np.eye(VOCAB_SIZE)[tokens[targets + 1]]
""",
        4,
        r"probabilities\(\) knows the token that it is asked for, or later ones: at 8 of 8 positions",
    ),
}
"""What it does -> the file, the number of a rule that it breaks, and what the verdict says."""
