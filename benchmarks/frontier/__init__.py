"""The frontier at equal bytes: designs, case transforms and switches, on one text and scored alike.

Text of the challenge's format (shards and their tokenizer) is decoded and tokenized anew for each vocabulary. Preset
`tiny` is the yardstick: 1,500 steps of 4,096 tokens with the text's own tokenizer, compiled, in bf16, on one thread.
"""
