"""Who is measured beside the tuned model: the model as found, and what it has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuneforge.components import LM, Context, Evaluator
from tuneforge.errors import ConfigError
from tuneforge.evaluation.baseline import Choice, best, check_metric, choose_prompt, validation_rows
from tuneforge.evaluation.figures import figure
from tuneforge.evaluation.heads import HeadLM
from tuneforge.evaluation.lexical import Bm25
from tuneforge.evaluation.likelihood import LabelLikelihood, PairPrompt, Quiet, causal, wordless
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.naive import Lexicon, Longer, Majority
from tuneforge.evaluation.probe import probes
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import HeldOut, Loaded, Row
from tuneforge.training.devices.place import place

if TYPE_CHECKING:
    import torch

    from tuneforge.settings import Run

FRESH = ("sequence_classification", "token_classification", "reward")
"""Heads whose weights are drawn at random before training: as found, the model has nothing to measure."""


def placed(loaded: Loaded, device: torch.device | str) -> Loaded:
    """The model on that device; one in fewer bits stays where it was loaded to."""
    model: Any = loaded.model
    if not getattr(model, "is_quantized", False):
        model.to(device)
    return loaded


def under_test(variant: str, loaded: Loaded, context: Context) -> LM:
    """The model as its head is asked, where the run computes."""
    placed(loaded, place(context.run))
    if context.run.strategy.head == "causal_lm":
        return HFLM(variant, loaded.model, loaded.tokenizer, cache=context.cache)
    return HeadLM(variant, loaded, context, context.cache)


def contenders(
    run: Run,
    loaded: Loaded,
    evaluators: Mapping[str, Evaluator],
    held_out: Sequence[HeldOut],
    train: Sequence[Row],
    context: Context,
) -> tuple[dict[str, LM], Choice]:
    """Name → who is measured before training, and the one among them that the tuned model has to beat."""
    placed(loaded, place(context.run))
    head = run.strategy.head
    if head == "causal_lm":
        base = HFLM("base", loaded.model, loaded.tokenizer, cache=context.cache)
        choice = choose_prompt(run, base, evaluators, held_out, train, context)
        return {"base": base} | ({"prompted": choice.lm} if choice.lm is not base else {}), choice
    check_metric(run, evaluators)
    if head in FRESH:
        choice = _without_head(run, loaded, evaluators, held_out, train, context)
        return {choice.lm.variant: choice.lm}, choice
    found = HeadLM("base", loaded, context, context.cache)
    choice = Choice(found, "base", "the base itself, on the same hidden tokens")
    if head == "embedding":
        choice = _retriever(run, found, evaluators, held_out, context)
    return {"base": found} | {choice.lm.variant: choice.lm}, choice


def _without_head(
    run: Run,
    loaded: Loaded,
    evaluators: Mapping[str, Evaluator],
    held_out: Sequence[HeldOut],
    train: Sequence[Row],
    context: Context,
) -> Choice:
    """The best of the rule that looks at no model and of what the model says without its new head.

    Chosen on validation rows. Without these the linear probe for classes, and the rule for rewards.
    """
    rule = _rule(run.strategy.head, train, context)
    if run.strategy.head == "token_classification":
        return rule
    _check_unit(run, evaluators, rule)
    key, rows = validation_rows(run, evaluators, held_out)
    candidates = {rule.name: rule.lm, **_of_model(run, loaded, train, context, asked=bool(rows))}
    if rows:
        quiet = Quiet(run, context.folder, context.cache, context.labels)  # the chosen one is measured aloud
        return best(run, candidates, key, evaluators[key], rows, quiet)
    name = list(candidates)[:2][-1]
    reason = f"no validation rows to choose a baseline on, so {name if name != rule.name else rule.reason}"
    context.note(reason)
    return Choice(candidates[name], name, reason)


def _of_model(run: Run, loaded: Loaded, train: Sequence[Row], context: Context, asked: bool) -> dict[str, LM]:
    """What the model as found says of the job: asked as a language model, and by its states. What cannot is said."""
    found: dict[str, LM] = {}
    if asked:
        name = "label likelihood" if run.strategy.head == "sequence_classification" else "A/B prompt"
        with _left_out(name, context):
            found[name] = _as_language_model(run, loaded, train, context)
    if run.strategy.head == "sequence_classification":
        with _left_out("linear probe", context):
            found |= probes(run, HeadLM("linear_probe", loaded, context), train)
    return found


def _as_language_model(run: Run, loaded: Loaded, train: Sequence[Row], context: Context) -> LM:
    """ConfigError with the reason where the model, or the job, cannot be asked so."""
    if run.strategy.head == "reward":
        return PairPrompt(causal(run, loaded, context), context)
    if odd := wordless(context.labels):
        raise ConfigError(f"the class '{odd[0]}' is no word")
    if any(isinstance(row.columns.get("label"), list) for row in train):
        raise ConfigError("a text may have several classes")
    return LabelLikelihood(causal(run, loaded, context), context.labels, context)


@contextmanager
def _left_out(name: str, context: Context) -> Iterator[None]:
    """A candidate that cannot be had is no error: the reason is said."""
    try:
        yield
    except ConfigError as error:
        context.note(f"baseline: {name} is left out: {error}")


def _rule(head: str, train: Sequence[Row], context: Context) -> Choice:
    """The rule that needs no model."""
    if head == "sequence_classification":
        majority = Majority(train, context.labels)
        facts = majority.describe(())
        reason = f"majority: always '{facts['class']}', the class of {figure(facts['share'])} of the training rows"
        return Choice(majority, majority.variant, reason)
    if head == "token_classification":
        lexicon = Lexicon(train)
        reason = f"lexicon: {len(lexicon.tags):,} known words have their most frequent tag, others '{lexicon.other}'"
        return Choice(lexicon, lexicon.variant, reason)
    return Choice(Longer(), "longer", "longer: the longer answer is the better one")


def _check_unit(run: Run, evaluators: Mapping[str, Evaluator], choice: Choice) -> None:
    """ConfigError, before anything is trained, for a gate.metric that the rule does not have."""
    unit = choice.lm.describe(()).get("unit") if isinstance(choice.lm, Unable) else None
    own = {m.name for evaluator in evaluators.values() for m in evaluator.metrics if m.own_unit}
    if unit and run.gate.metric and run.gate.metric.split(".")[-1] in own:
        raise ConfigError(
            f"gate.metric={run.gate.metric}: is in the model's own unit, and what it has to beat"
            f" ({choice.lm.variant}) counts {unit}"
        )


def _retriever(
    run: Run, base: LM, evaluators: Mapping[str, Evaluator], held_out: Sequence[HeldOut], context: Context
) -> Choice:
    """The base with the same pooling or BM25, whichever is better on validation rows; without these, BM25."""
    columns = [row.columns for held in held_out for row in held.rows]
    words = Bm25(c[name] for c in columns for name in ("positive", "negative") if c.get(name))
    key, rows = validation_rows(run, evaluators, held_out)
    if rows:
        return best(run, {"base": base, "bm25": words}, key, evaluators[key], rows, context)
    reason = "no validation rows to choose on, so BM25, the words that two texts share"
    context.note(reason)
    return Choice(words, "bm25", reason)
