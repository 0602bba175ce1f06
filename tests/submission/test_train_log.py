"""Logs are read the way reviewers read them: the last line of each kind counts."""

from golfpipe.submission.train_log import differences, read_log

LOG = """seed: 1337
Total submission size int6+lzma: 17,000,000 bytes
step:1/2 val_loss:5.0 val_bpb:3.0
Total submission size: 15_900_000 bytes
final_exact val_loss:1.89123456 val_bpb:1.12345678
"""


def test_the_last_line_of_each_kind_counts():
    logged = read_log(LOG)
    assert logged.seed == 1337
    assert logged.total_bytes == 15_900_000
    assert (logged.val_loss, logged.val_bpb) == (1.89123456, 1.12345678)


def test_equal_numbers_differ_in_nothing():
    assert differences(read_log(LOG), seed=1337, val_loss=1.891234561, val_bpb=1.12345678, total_bytes=15_900_000) == []


def test_each_difference_is_named():
    found = differences(read_log(LOG), seed=1, val_loss=1.8, val_bpb=1.2, total_bytes=5)
    assert len(found) == 4
    assert "val_bpb 1.20000000, the log says 1.12345678" in found[2]


def test_a_log_without_numbers_says_nothing():
    logged = read_log("val_loss:1.2.3 val_bpb:..\nnothing\n")
    assert (logged.seed, logged.val_loss, logged.val_bpb, logged.total_bytes) == (None, None, None, None)
