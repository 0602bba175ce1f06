"""What running an honest method shows, for tests that run none."""

from golfpipe.submission.trial.findings import (
    BytesFound,
    Compared,
    CountFound,
    CutsFound,
    Executed,
    Opened,
    Reproduced,
    SumsFound,
)

HONEST = Executed(
    method="sliding",
    adapts=False,
    own_bytes=40_000,
    split_targets=598_653,
    cuts=CutsFound(cuts=8, targets=1000, compared=4189, changed=0, largest_change_nats=0.0, repeat_change_nats=0.0),
    shorter=Compared(compared=660, changed=0, largest_change_nats=0.0),
    restarted=Compared(compared=512, changed=0, largest_change_nats=0.0),
    count=CountFound(
        targets=1025, with_score=1025, scores_made=1025, scores_computed=1025, nats_made=3287.0, nats_kept=3287.0
    ),
    sums=SumsFound(swapped_sum=1.0000001, swapped_tokens=1024, vocab_size=1024, positions=9, largest_deviation=2e-7),
    bytes=BytesFound(documents=22, wrong_documents=0, table_bytes=15_626, decoded_bytes=15_626),
    opened=Opened(watcher="strace", files=(), sockets=(), allowed_files=5),
    reproduced=Reproduced(documents=2, largest_change_nats=0.0, tolerance_nats=1e-5),
    notes=(),
    seconds=1.5,
)
