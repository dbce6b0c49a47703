"""Fit of the data to the goal: rows that the strategy can train on, and that are yet the wrong kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from tuneforge.audit.distance import Distance, distance, vocabulary
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.reading import Exchange, document, listed, shown, source
from tuneforge.audit.register import language
from tuneforge.audit.subject import Subject
from tuneforge.conversation import answer_text
from tuneforge.data.share import Share
from tuneforge.evaluation.statistics import wilson
from tuneforge.rows import Row

NAME = "fit"
FEW = 20
"""Rows below which nothing is said."""
HALF = 0.5
"""Share of certain documents from which the kind of data is unmistakably wrong. Measured: 0 in alpaca_demo,
gpteacher_roleplay, gsm8k, pubmedqa, tatqa, toolcall_demo; 98 % in c4_demo and 100 % in TinyStories under their
first words."""
SOME = 0.05
"""Share of documents from which it is warned; under 1 % in those sets."""
LONG = 80
"""Words from which an answer may be a document."""
TITLE = 12
"""Words of a prompt up to which it may be a title."""
REQUEST = listed(
    """
    what who whom whose which when where why how is are was were do does did can could should would will may might
    has have give tell write describe explain list name create generate make find compare summarize summarise
    translate rewrite edit identify design suggest provide discuss compose classify convert calculate analyze
    analyse imagine act you your i my please explore play take pretend talk develop prepare draft propose construct
    outline determine evaluate predict consider let arrange reword rephrase add come choose select categorize
    brainstorm respond answer using given help show build produce formulate devise invent recommend based if assume
    suppose elaborate define think output connect share speculate derive research state advise specify differentiate
    synthesize start begin solve step-by-step reverse simulate extract report count sort order complete continue
    fill replace paraphrase draw paint sketch estimate thanks hi hello hey i'm i'd we
    """
)
"""First words of requests and of sentences that carry one."""
NEAR = 0.1
"""Excess Jensen-Shannon divergence in bits from which a set speaks of something else than training. Measured over
fifteen sets: held-out rows of the same set -.03 to .04, general instructions against other general instructions
.02 to .06, against GSM8K, PubMedQA, TAT-QA, banking77 and Cypher .11 to .33."""
SAME = 0.95
"""Share of common words (Dice) from which two answers are nearly equal."""
EQUAL = 0.1
"""Share of nearly equal pairs from which it is warned; hh_rlhf has 1 %, dpo_demo none."""
LONGER = 0.65
"""Share of pairs decided by length from which length alone explains the preference. Preference sets for reward models
have .56 (WebGPT), .60 (StackExchange) and .63 (RLCD) where the longer wins (Singhal et al. 2023,
arXiv:2310.03716)."""
ONE_WORD = 0.9
"""Share of one-word answers from which instruction tuning trains a classifier."""


def check(subject: Subject) -> Iterator[Finding]:
    """What the strategy's kind of rows may be wrong in; at least that nothing was there to be wrong."""
    found = list(_findings(subject))
    yield from found or [Finding(check=NAME, severity=Severity.ok, text="nothing here speaks against this strategy")]


def _findings(subject: Subject) -> Iterator[Finding]:
    """Documents as answers, one-word answers, pairs that teach nothing or length, words against each target set."""
    if subject.exchanges and subject.run.strategy.record in ("messages", "completion"):
        yield _documents(subject)
        yield from _one_word(subject)
    if subject.run.strategy.record in ("preference", "unpaired"):
        yield from _pairs(subject)
    if subject.run.strategy.record == "text":
        yield from _dialogues(subject)
    yield from _goal(subject)


def _documents(subject: Subject) -> Finding:
    """Answers that are documents: long texts without a request, or texts cut in two."""
    whole = len(subject.exchanges)
    prompts = Counter(one.asked.strip() for one in subject.exchanges)
    bare = {"", *(prompt for prompt, count in prompts.items() if count > HALF * whole and not _asks(prompt))}
    certain = {id(one) for one in subject.exchanges if goes_on(one, bare)}
    found = [one for one in subject.exchanges if id(one) in certain or is_titled(one)]
    wrong = len(certain) >= max(HALF * whole, FEW)
    severity = Severity.error if wrong else Severity.warning if len(found) >= max(SOME * whole, FEW) else Severity.ok
    return Finding(
        check=NAME,
        severity=severity,
        text=f"{len(found):,} of {whole:,} answers{subject.drawn} are documents: texts that answer no request"
        if found
        else f"all {whole:,} answers belong to a request",
        count=len(found),
        of=whole,
        action="Train on documents with `strategy=clm`, or write requests to which they are answers."
        if severity is not Severity.ok
        else "",
        rows=shown((one.row, f"{one.asked[:60] or '(no prompt)'} → {one.answer}") for one in found),
        numbers={"share": round(len(found) / whole, 4), "certain": round(len(certain) / whole, 4)},
    )


def goes_on(one: Exchange, bare: Collection[str] = ("",)) -> bool:
    """Whether an answer is certainly a document: under one of the `bare` prompts, its prompt repeated and continued,
    or the second part of a sentence that the prompt begins."""
    prompt, answer = one.asked.strip(), one.answer.strip()
    if not one.opening or answer.count(" ") < LONG // 2:
        return False
    if prompt in bare:
        return answer.count(" ") >= LONG
    if _asks(prompt):
        return False
    cut = prompt[-1].isalpha() and answer[:1].islower() and len(prompt.split()) > TITLE
    return cut or (answer.startswith(prompt) and len(answer) > 2 * len(prompt))


def is_titled(one: Exchange) -> bool:
    """Whether a long English answer stands under a few words that request nothing."""
    prompt = one.asked.strip()
    if one.answer.count(" ") < LONG or not one.opening or not 0 < len(prompt.split()) <= TITLE or _asks(prompt):
        return False
    return prompt.isascii() and language(one.answer) == "English"


def _asks(prompt: str) -> bool:
    words = prompt.split()
    return bool(words) and ("?" in prompt or words[-1].endswith((":", "=")) or words[0].lower().strip(",.:") in REQUEST)


def _one_word(subject: Subject) -> Iterator[Finding]:
    """Instruction tuning on answers of one word, where a head would do."""
    short = [one for one in subject.exchanges if len(one.answer.split()) == 1]
    classes = Counter(one.answer.strip().lower() for one in short)
    share = len(short) / len(subject.exchanges)
    few = share >= ONE_WORD and len(short) >= FEW and len(classes) <= max(2, len(short) // 10)
    if few:
        said = ", ".join(f"{name} {count:,}" for name, count in classes.most_common(5))
        yield Finding(
            check=NAME, severity=Severity.info, count=len(short), of=len(subject.exchanges),
            text=f"{len(short):,} of {len(subject.exchanges):,} answers are one of {len(classes)} words ({said})",
            action="The texts are classified: `strategy=classification` learns it faster, and gives probabilities.",
            rows=shown((one.row, one.answer) for one in short[:5]),
        )  # fmt: skip


def _pairs(subject: Subject) -> Iterator[Finding]:
    pairs = [(row, *sides) for row in subject.rows if all(sides := _sides(row))]
    if len(pairs) < FEW:
        return
    equal = [(row, a) for row, a, b in pairs if alike(a, b) >= SAME]
    many = len(equal) >= EQUAL * len(pairs)
    yield Finding(
        check=NAME, severity=Severity.warning if many else Severity.ok, count=len(equal), of=len(pairs),
        text=f"{len(equal):,} of {len(pairs):,} pairs have nearly equal answers ({SAME:.0%} of their words in common)",
        action="Such pairs teach little but noise: leave them out, or say what differs." if many else "",
        rows=shown(equal),
    )  # fmt: skip
    yield _length_bias(pairs)


def _sides(row: Row) -> tuple[str, str]:
    return answer_text(row.columns, "chosen"), answer_text(row.columns, "rejected")


def alike(first: str, second: str) -> float:
    """Dice coefficient of two texts' words as multisets, case aside; 1 for equal texts."""
    if first == second:
        return 1.0
    a, b = Counter(first.lower().split()), Counter(second.lower().split())
    return 2 * (a & b).total() / max(a.total() + b.total(), 1)


def _length_bias(pairs: Sequence[tuple[Row, str, str]]) -> Finding:
    """How often the longer answer is the chosen one, equal lengths left out."""
    lengths = [(row, len(a.split()), len(b.split())) for row, a, b in pairs]
    told = [(row, a, b) for row, a, b in lengths if a != b]
    longer = [one for one in told if one[1] > one[2]]
    share, low, high = wilson(len(longer), len(told))
    biased = low >= LONGER or high <= 1 - LONGER
    word = "longer" if share >= 0.5 else "shorter"
    return Finding(
        check=NAME,
        severity=Severity.warning if biased else Severity.ok,
        text=f"the longer answer is chosen in {len(longer):,} of {len(told):,} pairs of unequal length"
        f" ({share:.0%} [{low:.0%}, {high:.0%}])"
        + (f": length alone tells {max(share, 1 - share):.0%}" if biased else ""),
        count=len(longer),
        of=len(told),
        action=f"The model will learn to be {word}: add pairs in which the other wins, or use `strategy=simpo` or"
        " `strategy.ld_alpha=0.5`, which weigh length down."
        if biased
        else "",
        rows=shown(
            (row, f"{a} words chosen, {b} rejected") for row, a, b in (longer if word == "longer" else told)[:10]
        )
        if biased
        else (),
        numbers={"longer_wins": round(share, 4), "low": round(low, 4), "high": round(high, 4)},
    )


def _dialogues(subject: Subject) -> Iterator[Finding]:
    """Documents that are conversations written out, whose questions would be trained too."""
    texts = [(row, text) for row in subject.sample if (text := document(row.columns))]
    found = [(row, text) for row, text in texts if _is_dialogue(text)]
    if texts and len(texts) >= FEW:
        many = len(found) >= HALF * len(texts)
        yield Finding(
            check=NAME, severity=Severity.warning if many else Severity.ok, count=len(found), of=len(texts),
            text=f"{len(found):,} of {len(texts):,} documents{subject.sampled} are conversations written out",
            action="Give them as messages or prompt and completion, and use `strategy=instruction`." if many else "",
            rows=shown(found),
        )  # fmt: skip


def _is_dialogue(text: str) -> bool:
    marks = ("### Instruction", "<|im_start|>", "[INST]", "\nAssistant:", "\nHuman:", "\nUser:", "\n\nA:", "\nAnswer:")
    return sum(mark in text for mark in marks) >= 2 or text.count("<|im_start|>") >= 2


def _goal(subject: Subject) -> Iterator[Finding]:
    """The words of each target set against those of every training source; a share of training cannot differ."""
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in subject.sample:
        by_source[source(row)].append(row)
    splits = {"validation": subject.run.validation, "test": subject.run.test}
    near: list[str] = []
    for held in subject.held_out:
        if held.role != "target" or isinstance(splits[held.split].get(held.name), Share):
            continue
        there = vocabulary(held.rows, subject.run.seed)
        measured = [(distance(rows, there, subject.run.seed), key) for key, rows in by_source.items()]
        told = [(far, key) for far, key in measured if far is not None]
        if told:
            far, key = min(told, key=lambda one: one[0].excess)
            if far.excess >= NEAR:
                yield _elsewhere(f"{held.split}.{held.name}", key, far, held.rows)
            else:
                near.append(f"{held.split}.{held.name} from {key} by {far.excess:+.2f} bits")
    if near:
        yield Finding(
            check=NAME, severity=Severity.ok, text=f"words of {', '.join(near)} beyond chance (far: {NEAR:g})"
        )


def _elsewhere(name: str, key: str, far: Distance, rows: Sequence[Row]) -> Finding:
    absent = ", ".join(far.absent[:8])
    return Finding(
        check=NAME,
        severity=Severity.warning,
        text=f"{name} speaks of something else than the training data: its words differ from the nearest source, {key},"
        f" by {far.across:.2f} bits, two parts of that source by {far.within:.2f}; most typical: {absent}",
        of=len(rows),
        action=f"If {name} is the goal, train on rows of its kind; general rows alone rarely move it. Else give it"
        f" `{name}.role=general`.",
        rows=shown((row, " ".join(str(value) for value in row.columns.values())) for row in rows[:5]),
        numbers={"across": round(far.across, 4), "within": round(far.within, 4), "excess": round(far.excess, 4)},
    )
