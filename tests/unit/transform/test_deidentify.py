"""Personal data replaced alike in a whole row, never written, the mapping only where it is asked for."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.adamw import AdamW
from tuneforge.preparation.personal import mapping
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Rejected, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.transform.deidentify import Deidentify, Engine, Mode, Scope

MAIL, PHONE, CARD = "anna.keller@posteo.de", "(415) 867-5309", "4539 5787 6362 1486"


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    run = Run(model=Tiny(), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant())
    return RunContext(run, tmp_path / "run")


def row(line: int = 1, group: str = "", **columns: Any) -> Row:
    return Row(columns=columns, source="data.a", file="a.jsonl", line=line, group=group)


def treated(component: Deidentify, context: RunContext, *rows: Row) -> list[Row]:
    return transform("deidentify", component, rows, "train", context).rows


CONVERSATION = {
    "messages": [
        {"role": "system", "content": f"You help Anna Keller ({MAIL})."},
        {
            "role": "user",
            "content": f"My name is Anna Keller, call me at {PHONE} or write to bob@web.de.",
            "weight": 0.0,
        },
        {"role": "assistant", "content": "Anna, 415-867-5309 is noted, and ANNA.KELLER@posteo.de, and bob@web.de."},
    ],
    "tools": [{"name": "send", "parameters": {"to": {"type": "string", "default": MAIL}}, "strict": True}],
}


def test_a_value_gets_one_placeholder_across_a_conversation_with_its_tools(context: RunContext) -> None:
    (done,) = treated(Deidentify(), context, row(**CONVERSATION))
    said = [message["content"] for message in done.columns["messages"]]
    assert said == [
        "You help [PERSON_1] ([EMAIL_1]).",
        "My name is [PERSON_1], call me at [PHONE_1] or write to [EMAIL_2].",
        "[PERSON_1], [PHONE_1] is noted, and [EMAIL_1], and [EMAIL_2].",
    ]
    assert done.columns["tools"][0] == {
        "name": "send",
        "parameters": {"to": {"type": "string", "default": "[EMAIL_1]"}},
        "strict": True,
    }
    assert done.columns["messages"][1]["weight"] == 0.0
    assert done.history == ("deidentify",)


def test_both_answers_of_a_preference_and_the_prompt_agree(context: RunContext) -> None:
    columns = {"prompt": f"Mail {MAIL}", "chosen": f"To {MAIL}.", "rejected": f"{PHONE}? No, {MAIL}"}
    (done,) = treated(Deidentify(), context, row(**columns))
    assert dict(done.columns) == {
        "prompt": "Mail [EMAIL_1]",
        "chosen": "To [EMAIL_1].",
        "rejected": "[PHONE_1]? No, [EMAIL_1]",
    }


def test_words_stay_as_many_as_their_tags(context: RunContext) -> None:
    tokens = ["Call", "(415)", "867-5309", "or", MAIL]
    for mode in (Mode.placeholder, Mode.surrogate):
        (done,) = treated(Deidentify(mode=mode), context, row(tokens=tokens, tags=["O"] * 5))
        assert len(done.columns["tokens"]) == 5
        assert MAIL not in done.columns["tokens"]
        assert not {"(415)", "867-5309"} & set(done.columns["tokens"])
        assert [done.columns["tokens"][0], done.columns["tokens"][3]] == ["Call", "or"]


def test_a_row_without_personal_data_is_the_same_object(context: RunContext) -> None:
    plain = row(text="Janet sells 16 - 3 - 4 = 9 duck eggs a day for $1,234,567.")
    assert treated(Deidentify(), context, plain)[0] is plain


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        (Scope.row, ["[EMAIL_1] [EMAIL_2]", "[EMAIL_1]", "[EMAIL_1]"]),
        (Scope.group, ["[EMAIL_1] [EMAIL_2]", "[EMAIL_1]", "[EMAIL_1]"]),
        (Scope.dataset, ["[EMAIL_1] [EMAIL_2]", "[EMAIL_2]", "[EMAIL_2]"]),
    ],
)
def test_scope(scope: Scope, wanted: list[str], context: RunContext) -> None:
    rows = [row(1, "g", text="a@b.de c@d.de"), row(2, "h", text="c@d.de"), row(3, "", text="c@d.de")]
    assert [done.columns["text"] for done in treated(Deidentify(scope=scope), context, *rows)] == wanted


def test_rows_of_a_group_share_replacements(context: RunContext) -> None:
    rows = [row(1, "g", text="a@b.de c@d.de"), row(2, "g", text="c@d.de")]
    assert treated(Deidentify(scope=Scope.group), context, *rows)[1].columns["text"] == "[EMAIL_2]"


def test_dataset_scope_reaches_over_sets(context: RunContext) -> None:
    component = Deidentify(scope=Scope.dataset)
    treated(component, context, row(text="a@b.de c@d.de"))
    assert treated(component, context, row(text="c@d.de"))[0].columns["text"] == "[EMAIL_2]"


def test_a_placeholder_that_stands_in_the_text_is_not_given_again(context: RunContext) -> None:
    (done,) = treated(Deidentify(), context, row(text=f"[EMAIL_1] wrote to {MAIL}"))
    assert done.columns["text"] == "[EMAIL_1] wrote to [EMAIL_2]"


@pytest.mark.parametrize("mode", [Mode.placeholder, Mode.surrogate])
def test_twice_changes_nothing_more_for_placeholders_and_is_equal_for_equal_seeds(
    mode: Mode, context: RunContext
) -> None:
    (once,) = treated(Deidentify(mode=mode), context, row(**CONVERSATION))
    (same,) = treated(Deidentify(mode=mode), context, row(**CONVERSATION))
    assert once.columns == same.columns
    if mode == Mode.placeholder:
        assert treated(Deidentify(mode=mode), context, once)[0] is once


def test_surrogates_are_consistent_and_leave_nothing(context: RunContext) -> None:
    (done,) = treated(Deidentify(mode=Mode.surrogate), context, row(**CONVERSATION))
    whole = json.dumps(done.columns)
    assert not re.search(r"keller|posteo|867|bob@web", whole, re.IGNORECASE)
    mails = re.findall(r"[\w.]+@example\.\w+", whole)
    assert len(mails) == 5
    assert len(set(mails)) == 2


def test_dropped_rows_name_kinds_and_no_value(context: RunContext) -> None:
    done = transform(
        "d", Deidentify(mode=Mode.drop), [row(text=f"{MAIL} {PHONE}"), row(2, text="ok")], "train", context
    )
    assert [d.reason for d in done.dropped] == ["personal data: EMAIL, PHONE"]
    assert done.report.reasons == {"personal data": 1}
    assert done.report.counts == {"EMAIL": 1, "PHONE": 1}
    assert len(done.rows) == 1


def test_the_report_shows_what_is_new_only(context: RunContext) -> None:
    report = transform("d", Deidentify(), [row(**CONVERSATION)], "train", context).report
    assert report.counts["EMAIL"] == 5
    assert report.changes[0].before == "(not shown)"
    assert "[PERSON_1]" in report.changes[0].after
    assert not re.search(r"keller|867", str(report), re.IGNORECASE)


def test_entities_patterns_and_allowed_values(context: RunContext) -> None:
    text = f"{MAIL}, help@firma.de, {PHONE}, TK-123456, key=secret-7"
    component = Deidentify(
        entities=["email", "TICKET", "KEY"],
        patterns=[r"TICKET=\bTK-\d{6}\b", r"KEY=key=(\S+)"],
        allow=["HELP@firma.de"],
    )
    (done,) = treated(component, context, row(text=text))
    assert done.columns["text"] == f"[EMAIL_1], help@firma.de, {PHONE}, [TICKET_1], key=[KEY_1]"
    (kept,) = treated(Deidentify(allow=["@posteo.de"]), context, row(text=text))
    assert kept.columns["text"].startswith(MAIL)


EXPLODES = r"SLOW=(?:a|aa)+$"


def test_a_pattern_that_explodes_rejects_the_row_in_bounded_time(context: RunContext) -> None:
    bad = row(text="a" * 60 + "b")
    done = transform("d", Deidentify(patterns=[EXPLODES]), [bad, row(2, text=MAIL)], "train", context)
    assert [d.row for d in done.dropped] == [bad]
    assert done.report.reasons == {"pattern took too long": 1}
    assert done.report.counts["rows in which a pattern took too long"] == 1
    assert done.rows[0].columns["text"] == "[EMAIL_1]"


def test_a_pattern_that_explodes_again_and_again_refuses_the_run(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneforge.preparation.personal import recogniser

    monkeypatch.setattr(recogniser, "SECONDS", 0.01)
    rows = [row(n, text="a" * 60 + "b") for n in range(1, 30)]
    with pytest.raises(ConfigError, match=r"patterns: SLOW took more than .* in 10 rows, the last one a\.jsonl:10"):
        treated(Deidentify(patterns=[EXPLODES]), context, *rows)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patterns": ["oops"]}, "'oops' is not NAME=regex"),
        ({"patterns": ["low=x"]}, "'low=x' is not NAME=regex"),
        ({"patterns": ["A="]}, "'A=' is not NAME=regex"),
        ({"patterns": ["A=("]}, "A is no regular expression: missing )"),
        ({"patterns": ["A=x*"]}, "A matches where nothing stands"),
        ({"entities": ["EMIAL"]}, "Did you mean 'EMAIL'?"),
        ({"engine": Engine.model}, "go together"),
        ({"model": "./tagger"}, "engine=core would not use ./tagger"),
        ({"mode": Mode.drop, "mapping": "m.jsonl"}, "mode=drop replaces nothing"),
        ({"mapping_key": "abc"}, "mapping_key is no Fernet key"),
    ],
)
def test_wrong_fields_are_sentences(fields: dict[str, Any], said: str, context: RunContext) -> None:
    reasons = list(Deidentify(**fields).check(context.run))
    assert any(said in reason for reason in reasons), reasons
    assert not any("abc" in reason for reason in reasons)


def test_defaults_have_no_complaint(context: RunContext) -> None:
    assert list(Deidentify().check(context.run)) == []


def test_no_mapping_is_written_unless_asked_for(context: RunContext, tmp_path: Path) -> None:
    treated(Deidentify(), context, row(text=MAIL))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_readable_mapping_lies_outside_the_run_directory_for_its_owner_alone(
    context: RunContext, tmp_path: Path
) -> None:
    file = tmp_path / "secret" / "mapping.jsonl"
    component = Deidentify(mapping=str(file))
    treated(component, context, row(text=f"{MAIL} {PHONE}"), row(2, text="Mr. O\u2028Neill, x@y.de"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    entries = mapping.read(file)
    assert ("data.a a.jsonl:1", "EMAIL", "[EMAIL_1]", MAIL) in entries
    assert ("data.a a.jsonl:2", "EMAIL", "[EMAIL_1]", "x@y.de") in entries
    inside = Deidentify(mapping=str(context.folder / "data" / "m.jsonl"))
    with pytest.raises(ConfigError, match="would lie readable in the run directory"):
        treated(inside, context, row(text=MAIL))
    with pytest.raises(ConfigError, match=r"mapping=.*: it cannot be written"):
        treated(Deidentify(mapping=str(file / "below.jsonl")), context, row(text=MAIL))
    with pytest.raises(ConfigError, match="is a folder"):
        treated(Deidentify(mapping=str(tmp_path)), context, row(text=MAIL))


@pytest.mark.parametrize("named", [False, True])
def test_an_encrypted_mapping_opens_with_its_key_alone(named: bool, context: RunContext, tmp_path: Path) -> None:
    fernet = pytest.importorskip("cryptography.fernet")
    key = fernet.Fernet.generate_key().decode()
    file = context.folder / ("data/own.bin" if named else mapping.INSIDE)
    component = Deidentify(mapping_key=key, mapping=str(file) if named else None, scope=Scope.dataset)
    assert list(component.check(context.run)) == []
    treated(component, context, row(text=f"{MAIL} {CARD}"))
    assert b"keller" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [e.original for e in mapping.read(file, key)] == [MAIL, CARD]
    with pytest.raises(ConfigError, match="does not open"):
        mapping.read(file, fernet.Fernet.generate_key().decode())


def test_an_identifier_with_personal_data_is_refused(context: RunContext) -> None:
    named = Row(columns={"text": "hello"}, source="data.a", file="a.jsonl", line=MAIL)
    with pytest.raises(ConfigError, match=r"data\.a\.columns\.id: its values hold personal data \(EMAIL\)"):
        treated(Deidentify(), context, named)


def test_presidio_adds_what_its_recognisers_know(context: RunContext) -> None:
    pytest.importorskip("presidio_analyzer")
    text = "My bitcoin wallet is 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ, mail anna@posteo.de."
    (done,) = treated(Deidentify(engine=Engine.presidio), context, row(text=text))
    assert done.columns["text"] == "My bitcoin wallet is [CRYPTO_1], mail [EMAIL_1]."
    (only,) = treated(Deidentify(engine=Engine.presidio, entities=["CRYPTO"]), context, row(text=text))
    assert only.columns["text"] == "My bitcoin wallet is [CRYPTO_1], mail anna@posteo.de."
    with pytest.raises(ConfigError, match="nothing finds 'CRIPTO'"):
        treated(Deidentify(engine=Engine.presidio, entities=["CRIPTO"]), context, row(text=text))


def test_nothing_is_lost_among_many_batches(context: RunContext) -> None:
    rows = [row(n, text=f"mail a{n}@b{n}.de") for n in range(600)]
    done = transform("d", Deidentify(scope=Scope.dataset), rows, "train", context)
    assert [r.line for r in done.rows] == list(range(600))
    assert len({r.columns["text"] for r in done.rows}) == 600
    assert not [r for r in done.dropped if isinstance(r, Rejected)]


def test_a_key_stands_in_the_environment_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneforge.composition import compose_config

    chosen = ["+transform=deidentify", "transform.deidentify.mapping_key=${oc.env:ABSENT_KEY}"]
    monkeypatch.delenv("ABSENT_KEY", raising=False)
    with pytest.raises(
        ConfigError, match=r"transform\.deidentify\.mapping_key: the environment variable ABSENT_KEY is not set"
    ):
        compose_config(chosen)
    with pytest.raises(ConfigError, match="a secret is never written down"):
        compose_config([chosen[0], "transform.deidentify.mapping_key=abcdef"])
