"""Find the handbook articles that answer a question, best first.

The index is an SQLite full-text table in memory, ranked with BM25. Three settings decide what it
finds: the tokenizer, the chunking and how many articles are asked for.
"""

import re
import sqlite3
from pathlib import Path

TOKENIZERS = {
    "unicode61": "unicode61",
    "porter": "porter unicode61",
    "trigram": "trigram",
}
CHUNKINGS = ("article", "paragraph")


def build_index(folder: Path, tokenizer: str, chunking: str) -> sqlite3.Connection:
    """Read every article of a folder into a full-text index in memory.

    Args:
        folder: Holds the articles as `*.md`; an article's id is its file name without the suffix.
        tokenizer: `unicode61` compares whole words, `porter` their stems, `trigram` any three
            letters in a row.
        chunking: `article` indexes each article whole; `paragraph` indexes each paragraph under
            the article's title.

    Raises:
        ValueError: A setting is unknown or the folder holds no article.
    """
    if tokenizer not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {tokenizer!r}: use one of {', '.join(TOKENIZERS)}")
    if chunking not in CHUNKINGS:
        raise ValueError(f"unknown chunking {chunking!r}: use one of {', '.join(CHUNKINGS)}")
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise ValueError(f"no articles in {str(folder)!r}: expected files named *.md")
    # Only read once it is built, so threads of one process may share it.
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute(
        "CREATE VIRTUAL TABLE chunk USING fts5"
        f"(article UNINDEXED, title, body, tokenize = '{TOKENIZERS[tokenizer]}')"
    )
    index.executemany(
        "INSERT INTO chunk VALUES (?, ?, ?)",
        (
            (path.stem, title, body)
            for path in paths
            for title, body in _chunks(path.read_text(encoding="utf-8"), chunking)
        ),
    )
    index.commit()
    return index


def find_articles(index: sqlite3.Connection, question: str, top_k: int) -> list[str]:
    """Return the ids of the `top_k` articles that match a question best.

    An article counts with its best chunk; equal scores are ordered by id. The list is shorter
    than `top_k` when fewer articles share a term with the question, and empty when none does.

    Raises:
        ValueError: `top_k` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}: use 1 or more")
    expression = _match_expression(question)
    if not expression:
        return []
    # bm25() is negative, lower is better; rounding keeps ties equal on every platform.
    best: dict[str, float] = {}
    for article, score in index.execute(
        "SELECT article, round(bm25(chunk), 9) FROM chunk WHERE chunk MATCH ?", (expression,)
    ):
        best[article] = min(score, best.get(article, 0.0))
    return sorted(best, key=lambda article: (best[article], article))[:top_k]


def _chunks(text: str, chunking: str) -> list[tuple[str, str]]:
    """Split an article into (title, body) pairs; its first line is the title."""
    first_line, _, body = text.partition("\n")
    title = first_line.removeprefix("#").strip()
    if chunking == "article":
        return [(title, body.strip())]
    return [(title, paragraph) for paragraph in re.split(r"\n\s*\n", body.strip())]


def _match_expression(question: str) -> str:
    """Turn free text into an FTS5 expression in which any of its terms may match.

    Every term is quoted, so nothing a customer types is read as query syntax.
    """
    terms = dict.fromkeys(re.findall(r"[^\W_]+", question.lower()))
    return " OR ".join(f'"{term}"' for term in terms)
