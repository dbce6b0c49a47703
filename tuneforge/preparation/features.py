"""Rows as vectors, for clusters and distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.conversation import passages

if TYPE_CHECKING:
    from numpy import ndarray

NGRAMS = "ngrams"
"""The features that need no model."""

SIZE = 2**18
"""Buckets into which n-grams are hashed."""

LENGTH = 5000
"""Characters of a text that are looked at."""

ASKED = ("text", "prompt", "anchor", "messages")


def subject(columns: Mapping[str, Any]) -> str:
    """What a row is about: its document, what its user says, its anchor, or its words; never the answer."""
    said = [p.text for p in passages(columns) if p.place.split("[")[0] in ASKED and p.role in ("", "user")]
    return "\n".join(said)[:LENGTH] if said else " ".join(columns.get("tokens") or ())[:LENGTH]


def ngrams(texts: Sequence[str]) -> Any:
    """(n, SIZE) sparse float32: hashed words and pairs of words, sublinear TF-IDF, rows of length 1."""
    return weighted(hashed(texts))


def hashed(texts: Sequence[str]) -> Any:
    """(n, SIZE) sparse float32: how often each hashed word and pair of words stands in each text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    pattern = r"(?u)\b\w+\b"
    return HashingVectorizer(
        n_features=SIZE, ngram_range=(1, 2), alternate_sign=False, norm=None, dtype="float32", token_pattern=pattern
    ).transform(texts)


def weighted(counts: Any) -> Any:
    """Sublinear TF-IDF of counts, rows of length 1."""
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True).fit_transform(counts)


def dense(matrix: Any, seed: int, width: int = 64) -> ndarray:
    """(n, width) float32 of length 1, by truncated singular value decomposition (latent semantic analysis)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    matrix = matrix[:, matrix.getnnz(axis=0) > 0]
    width = min(width, matrix.shape[0] - 1, matrix.shape[1] - 1)
    made = TruncatedSVD(width, random_state=seed, n_iter=2).fit_transform(matrix) if width > 0 else matrix.toarray()
    unit: ndarray = normalize(made).astype("float32")
    return unit


def vectors(texts: Sequence[str], features: str, seed: int) -> ndarray:
    """(n, width) float32 of length 1: n-grams in 64 dimensions, or the embeddings of a model."""
    return dense(ngrams(texts), seed) if features == NGRAMS else embeddings(texts, features)


def embeddings(texts: Sequence[str], path: str, key: str = "features") -> ndarray:
    """(n, width) float32 of length 1, by a sentence-transformers model: a folder or a hub name that `key` gave."""
    from tuneforge.errors import ConfigError
    from tuneforge.extras import require

    require("sentence_transformers", "semantic", f"{key}={path}")
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(Path(path).expanduser()) if Path(path).expanduser().exists() else path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}={path}: is no sentence-transformers model ({str(error).splitlines()[0]})") from error
    made: ndarray = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return made
