"""More tokens for a model: merges that its tokenizer's BPE lacks, embeddings made of those of their pieces."""

from __future__ import annotations

import copy
import heapq
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError
from tuneforge.rows import Loaded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Pieces = tuple[str, ...]
Merge = tuple[str, str]

_WORD = re.compile(r"[^\W\d_]+")
BATCH = 1000
"""Texts that are tokenised at once."""


def words(texts: Sequence[str], tokenizer: Tokenizer) -> Counter[Pieces]:
    """How often each word occurs, by the tokens that spell it; a leading space belongs to a token."""
    found: Counter[Pieces] = Counter()
    for some in _parts(texts):
        encoded = tokenizer(some, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        for number, text in enumerate(some):
            found.update(_spelt(text, encoded.tokens(number), encoded["offset_mapping"][number]))
    return found


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    return ([*texts[at : at + BATCH]] for at in range(0, len(texts), BATCH))


def _spelt(text: str, tokens: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[Pieces]:
    """The tokens of each word in the text; a word that shares a token with what is no letter is left out."""
    at = 0
    for word in _WORD.finditer(text):
        while at < len(spans) and spans[at][1] <= word.start():
            at += 1
        first = at
        while at < len(spans) and spans[at][0] < word.end():
            at += 1
        if first and spans[first - 1][1] == word.start() and text[slice(*spans[first - 1])].isspace():
            first -= 1  # a space that is a token of its own
        if first < at and spans[at - 1][1] == word.end() and not text[spans[first][0] : word.start()].strip():
            yield tuple(tokens[first:at])


def merges(counts: Mapping[Pieces, int], budget: int, least: int, known: frozenset[str]) -> list[Merge]:
    """Up to `budget` merges of adjacent pieces, the most frequent pair first, as BPE learns them (Sennrich 2016).

    No pair that occurs less than `least` times; none whose whole is a token already. Equal counts go by the text.
    """
    spelt = {number: [*pieces] for number, pieces in enumerate(counts)}
    often = [*counts.values()]
    pairs: Counter[Merge] = Counter()
    homes: defaultdict[Merge, set[int]] = defaultdict(set)
    for number, pieces in spelt.items():
        for pair in pairwise(pieces):
            pairs[pair] += often[number]
            homes[pair].add(number)
    taken = set(known)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    found: list[Merge] = []
    while heap and len(found) < budget:
        count, pair = heapq.heappop(heap)
        if -count != pairs[pair]:
            continue  # counted anew since; it stands further down
        if -count < least:
            break
        if "".join(pair) in taken:
            continue
        found.append(pair)
        taken.add("".join(pair))
        touched: set[Merge] = set()
        for number in homes[pair]:
            before, after = spelt[number], _merged(spelt[number], pair)
            for old in pairwise(before):
                pairs[old] -= often[number]
            for new in pairwise(after):
                pairs[new] += often[number]
                homes[new].add(number)
            touched.update(pairwise(before), pairwise(after))
            spelt[number] = after
        for changed in touched:
            heapq.heappush(heap, (-pairs[changed], changed))
    return found


def _merged(pieces: Sequence[str], pair: Merge) -> list[str]:
    made: list[str] = []
    at = 0
    while at < len(pieces):
        both = tuple(pieces[at : at + 2]) == pair
        made.append("".join(pair) if both else pieces[at])
        at += 1 + both
    return made


def with_merges(tokenizer: Tokenizer, added: Sequence[Merge]) -> Tokenizer:
    """The tokenizer with further merges after its own, each a new token; texts without one keep their tokens.

    ConfigError where it is no BPE, or does not give every text back as before.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        state = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        model = state.get("model") or {}
        if model.get("type") != "BPE":
            raise ConfigError(
                f"extend_vocabulary: the tokenizer's model is {model.get('type') or 'not in tokenizer.json'};"
                " only byte-pair encoding (BPE) can be given further merges"
            )
        vocabulary: dict[str, int] = model["vocab"]
        for token in state.get("added_tokens") or ():
            vocabulary.setdefault(token["content"], token["id"])
        own = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [*own, *map(list, added)]
        vocabulary.update({"".join(pair): number for number, pair in enumerate(added, len(tokenizer))})
        file.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        made: Tokenizer = type(tokenizer).from_pretrained(folder)
    made.name_or_path = tokenizer.name_or_path
    made.chat_template = tokenizer.chat_template
    return made


def extended(loaded: Loaded, tokenizer: Tokenizer) -> Loaded:
    """A copy of the model with a row for each new token: the mean of the rows of its pieces, in input and output."""
    import torch

    old = len(loaded.tokenizer)
    model: Any = copy.deepcopy(loaded.model)
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    both = (model.get_input_embeddings(), model.get_output_embeddings())
    layers = {id(layer.weight): layer for layer in both if layer is not None}  # tied ones are one
    with torch.no_grad():
        for pieces, new in _spellings(loaded.tokenizer, tokenizer, old):
            for layer in layers.values():
                layer.weight[new] = layer.weight[pieces].float().mean(0).to(layer.weight.dtype)
                if getattr(layer, "bias", None) is not None:
                    layer.bias[new] = layer.bias[pieces].float().mean(0).to(layer.bias.dtype)
    return Loaded(model, tokenizer)


def _spellings(before: Tokenizer, after: Tokenizer, old: int) -> Iterator[tuple[list[int], int]]:
    """For each new token the ids of the old tokens of which it is merged."""
    state = json.loads(after.backend_tokenizer.to_str())["model"]
    made = {"".join(pair): pair for pair in state["merges"]}
    known = before.get_vocab()
    for token, new in sorted(after.get_vocab().items(), key=lambda item: item[1]):
        if new >= old:
            yield list(_pieces(token, made, known)), new


def _pieces(token: str, made: Mapping[str, Sequence[str]], known: Mapping[str, int]) -> Iterator[int]:
    if token in known:
        yield known[token]
    else:
        for part in made[token]:
            yield from _pieces(part, made, known)


def fertility(texts: Sequence[str], tokenizer: Tokenizer) -> float:
    """Tokens per word, words being what stands between white space; NaN without words."""
    count = sum(len(text.split()) for text in texts)
    tokens = sum(
        len(ids)
        for some in _parts(texts)
        for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]
    )
    return tokens / count if count else float("nan")
