"""Texts that each language, and a terminal, would act on; and whether a command let one through."""

from __future__ import annotations

HARMLESS = "harmless"
PAYLOADS: dict[str, str] = {
    "Python": (
        """'"]);__import__("os").system("touch pwned");x=['"""
        """\"\"\"\n'''\n__import__("os").system("touch pwned")\n\\"""
    ),
    "shell": "$(touch pwned)`touch pwned`; touch pwned #' \" && touch pwned\nforged; touch pwned\n$HOME *",
    "SLURM": "x\n#SBATCH --wrap=forged\n#SBATCH --output=/tmp/forged",
    "YAML": "a: b\n- x: !!python/object/apply:os.system ['touch pwned']\nforged: {x: *y, !!binary z}\n--- &a %",
    "pip": "1.26\n--index-url=http://forged\n-e git+http://forged ; python_version<'4' # x",
    "Markdown": (
        "# forged\n\n- forged\n\n| a | b |\n|---|---|\n```\n*b* ~~c~~ `d` [l](javascript:x) ![i](x) <b>\n\n1. forged"
    ),
    "HTML": "<script>forged</script></title></style></pre><img src=x onerror=x>\"'>--><!--&lt;{{ 7 * 7 }}{% raw %}",
    "terminal": (
        "\x1b[31mforged\x1b]0;forged\x07\x1b]8;;http://forged\x1b\\\x1b[2J\x08\x7f\x9b31m\x85\x90q\x9c\rforged"
        "\nerror: forged\nval_bpb:0.1\u202e\u2066\u2029\u200f\U000e0041"
    ),
}
EVERYTHING = "".join(
    PAYLOADS[name] for name in ("pip", "SLURM", "YAML", "Markdown", "Python", "shell", "HTML", "terminal")
)
MAX_NAME_BYTES = 200
HIDDEN = {"\x1b", "\x07", "\x08", "\x7f", "\x85", "\x90", "\x9b", "\x9c", "\r", "\u202e", "\u2066", "\u2029", "\u200f",
          "\U000e0041"}  # fmt: skip
"""The characters of the payloads that act unseen."""
_FORGED_LINES = (
    "error: forged", "val_bpb:0.1", "forged", "--index-url", "#SBATCH", "-e git+", "__import__", "- forged",
    "1. forged",
)  # fmt: skip


def as_name(text: str) -> str:
    """The text as a file may be called: in one folder, and short enough."""
    return text.replace("/", "").replace("\\", "").encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def acts(text: str) -> bool:
    """Whether anything in the text but lines and tabs acts on a terminal."""
    return any(not character.isprintable() and character not in "\n\t\xa0\u3000" for character in text)


def lets_through(text: str, *, terminal: bool = False) -> str | None:
    """Say what in a command's words acts on a terminal or forges a line; None where nothing does. To a `terminal`
    golfpipe itself writes colors and moves the cursor, so that only what it never writes counts."""
    if terminal:
        wrong = sorted(character for character in HIDDEN - {"\x1b", "\r"} if character in text)
        wrong += [part for part in ("\x1b]", "\x1b[31mforged", "\x1b[2J", "\rforged") if part in text]
    else:
        wrong = ["control characters"] if acts(text) else []
    lines = [line for line in text.splitlines() if line.startswith(_FORGED_LINES)]
    return ascii([*wrong, *lines])[:200] if wrong or lines else None
