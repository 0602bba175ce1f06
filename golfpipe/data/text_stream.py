"""Turn tokens into text as they come, in whole characters only: byte pieces spell one character over several tokens."""

from __future__ import annotations

import codecs

from golfpipe.data.tokenizer import Tokenizer

SPACE = "\u2581"
"""SentencePiece's mark for a space."""
DOCUMENT_BREAK = "\n\n"
"""What a BOS in the middle of a text becomes."""


class TextStream:
    """Takes tokens one by one and returns the text that is certain by then."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._case = tokenizer.case_decoder()
        self._at_start = True

    def add(self, token: int) -> str:
        """Return the new whole characters; "" while bytes of one, or the letter that a case marker marks, are
        missing."""
        piece, kind = self._tokenizer.pieces[token], self._tokenizer.piece_types[token]
        if kind == "byte":
            self._at_start = False
            return self._cased(self._decoder.decode(bytes([int(piece[3:5], 16)])))  # '<0xE2>'
        text = self._cased(self._flush())
        if token == self._tokenizer.bos_id:
            text += "" if self._at_start else DOCUMENT_BREAK
            self._at_start = True
            self._case = self._tokenizer.case_decoder()
        elif kind == "normal":
            spelled = piece.replace(SPACE, " ")
            if self._at_start and self._case is None:
                # The tokenizer puts a space before the first word of a text, which the text did not have.
                text += spelled.removeprefix(" ")
            else:
                text += self._cased(spelled)
            self._at_start = self._at_start and self._tokenizer.merges_spaces and not spelled.strip(" ")
        return text

    def end(self) -> str:
        """Return what is left: a replacement character if a character was cut off."""
        return self._cased(self._flush())

    def _cased(self, text: str) -> str:
        return self._case.add(text) if self._case is not None else text

    def _flush(self) -> str:
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
