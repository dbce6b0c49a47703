"""Which kind of task an instruction sets: rules in order, for English. How often they are right: docs/selection.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tuneforge.preparation.tasks import Asked, Task, asked


def task(columns: Mapping[str, Any]) -> Task | None:
    """The kind of task of a row, the first rule that holds; None for a row that is no instruction."""
    found = asked(columns)
    return None if found is None else next((kind for kind, holds in RULES if holds(found)), Task.other)


def _matches(pattern: str, where: str = "lead") -> Callable[[Asked], bool]:
    compiled = re.compile(pattern)
    return lambda a: compiled.search(getattr(a, where)) is not None


_LANGUAGES = (
    "english|french|german|spanish|italian|portuguese|dutch|russian|chinese|japanese|korean|arabic|hindi|latin|polish|"
    "turkish|swedish|greek|hebrew|hungarian|finnish|danish|czech|vietnamese|thai|indonesian|urdu|bengali|persian"
)
_MAKE = (
    r"\b(write|compose|create|generate|draft|make|craft|produce|construct|invent|design|give me|pen|build|output|"
    r"suggest|come up with)\b"
)
_TEXTS = (
    r"(stor(y|ies)|poems?|haikus?|songs?|lyrics|jokes?|rap|jingle|verse|novel|screenplay|dialogues?|riddles?|plot|"
    r"limericks?|slogans?|taglines?|headlines?|titles?|tweets?|posts?|articles?|essays?|letters?|e-?mails?|speech|"
    r"paragraphs?|descriptions?|advertisements?|ads?|reviews?|biograph(y|ies)|bio|profile|sentences?|analog(y|ies)|"
    r"metaphors?|quotes?|puns?|conversation|narrative|message|introduction|conclusion|report|press release|memo|simile|"
    r"argument|scene|monologue|sonnet|caption|toast|spells?|character|stanza|announcement|signature|closing|excuse|"
    r"mission "
    r"statement)"
)
_THINGS = (
    r"(ideas|ways|tips|examples|reasons|names|words|synonyms|antonyms|items|topics|questions|benefits|things|"
    r"activities|"
    r"strategies|suggestions|types|uses|advantages|disadvantages|factors|features|books|movies|songs|foods|methods|"
    r"causes|"
    r"effects|adjectives|facts|applications|solutions|hobbies|countries|characteristics|points|people|animals|tools|"
    r"resources|skills|techniques|challenges|elements|sources|symptoms|practices|places|cities|snacks|list)"
)
_ASKED_FOR_CODE = (
    r"\b(python|javascript|java|c\+\+|sql|html|css|regex|regular expression|php|bash|matlab|typescript|react\w*|cypher|"
    r"leetcode|(for|while) loop|web ?page|linked list|api|pseudo-?code|source code|web app|code snippet|"
    r"(a|the|this|following) (function|program|script|code|query|algorithm|array)|code:)"
)
_BEGINS_AS_CODE = re.compile(r"\s*(def|class) \w+.*:$|\s*(import|from) \w+$|select .+ from ")
_MARKED_AS_CODE = re.compile(r"```(?!text)|#include|<html")
_CALLS = re.compile(r"\w\(\) ?\{|\bconsole\.log\(")
_QUESTION = (
    r"^(\W*(q(uestion)?:?\s*)?)(what|who|whom|whose|when|where|why|how|which|is|are|was|were|do|does|did|can|could|"
    r"should|would|will|has|have|if|in (what|which))\b|\?\s*(\W*(a|answer):?\s*)?$"
)
_EXPLAIN = (
    r"^\W*(please )?(explain|describe|define|compare|contrast|discuss|tell me|elaborate|outline|state|identify|name|"
    r"analy[sz]e|evaluate|assess|provide|give|answer|find|explore|determine|mention|teach|start teaching|list|advise|"
    r"demonstrate|illustrate|research|estimate|predict|detail|differentiate|interpret|specify|speculate|pick|"
    r"given .* explain)\b"
)
_ASKS = re.compile(rf"{_QUESTION}|{_EXPLAIN}")
_ABOUT_A_TEXT = re.compile(
    r"\b(according to|based on|(read|given|from|in|about|of|to) (this|the|a|an|following)\b.{0,30}"
    r"\b(passages?|paragraphs?|contexts?|articles?|texts?|story|stories|facts?|document|table|abstract|sentences?))"
)
_NUMBER = re.compile(r"\d+")
_SOLVED = re.compile(r"^#### |\\boxed", re.MULTILINE)
_RESULT = re.compile(r"\d\s*=\s*[-$£€]?\d|\\frac|\btotal of [$£€]?\d")
_MATH = re.compile(
    r"\b(calculat(e|ing)|compute|(solv(e|ing)|resolve) (for|.* equations?|the (following )?(problem|system))|"
    r"multiplication table|simplify the "
    r"(expression|fraction)|sum up the numbers|sum of (the|these|\d)|(square|cube) root|derivative|integral|math\w*|"
    r"evaluate the expression|perfect numbers?|factorial|decimal|binary number|probability (of|that)|prove that|"
    r"multiplied by|(average|product|area|perimeter|volume|median|mean) of|equation)\b"
    r"|\bwhat is \d[\d.,]*\s*[-+*/x\xd7\xf7]|\bconvert(ing)? \d|\bsolve -?\d"
)
_FORMULA = re.compile(r"\$[^$]*[=\\^][^$]*\$")


def _answered_in_code(a: Asked) -> bool:
    """In parts: `re` runs through a long answer far faster where it looks for fixed beginnings."""
    said = a.answer
    calls = ("()" in said or "log(" in said) and _CALLS.search(said) is not None
    return calls or _BEGINS_AS_CODE.match(said) is not None or _MARKED_AS_CODE.search(said) is not None


def _calculates(a: Asked) -> bool:
    return (
        _MATH.search(a.lead) is not None
        or _FORMULA.search(a.request) is not None
        or ("?" in a.request and _SOLVED.search(a.answer) is not None)
        or ("?" in a.request and len(_NUMBER.findall(a.request)) >= 2 and _RESULT.search(a.answer) is not None)
    )


def _about_a_text(a: Asked) -> bool:
    if len(a.request.split()) < 25:
        return False
    long = len(a.context.split()) >= 20 and _ASKS.search(a.lead) is not None
    return long or (_ABOUT_A_TEXT.search(a.request) is not None and ("?" in a.request or "question" in a.request))


RULES: tuple[tuple[Task, Callable[[Asked], bool]], ...] = (
    (Task.tool_call, lambda a: a.tools),
    (
        Task.refusal,
        _matches(
            r"^(i'm sorry|i am sorry|i apologi[sz]e|sorry)\b,?.{0,50}\b(can(no|')t|unable to|not able to|won't|"
            r"will not|privacy|don't have)\b|^(i'm|i am) (unable|not able) to\b|"
            r"^i (can(no|')t|will not|won't) (help|assist|provide|support|fulfil|comply|engage|create|do|answer)|"
            r"^as an ai[^.]{0,60}\b(can(no|')t|unable|not able|not capable|do(n't| not) have the (ability|capab))",
            "answer",
        ),
    ),
    (
        Task.conversation,
        _matches(
            r"^\W*(hi|hello|hey|thanks|thank you|good (morning|evening)|how are you|who are you)\b.{0,40}$", "request"
        ),
    ),
    (Task.conversation, lambda a: a.turns > 1),
    (
        Task.role_play,
        _matches(
            r"^\W*(please )?(imagine|pretend|suppose)(ing)?\b(?=.{0,60}\b(you|to be|as)\b)|\brole-? ?play|"
            r"^\W*act as\b|^\W*(take( on)?|assume|play) (the |a )?(role|identity|persona|character)\b|"
            r"^\W*(you are|you're) (?!(given|provided|shown|presented|asked|going|to|expected|a helpful|an ai a|"
            r"required)\b)|"
            r"^you (have been appointed|hear|find|wake|discover|encounter|come across)\b|"
            r"^(in an? [\w ]+, )?you are an? (?!helpful)|"
            r"^as (?!(an ai|a result|soon|long|far|well|you)\b)[^,.:?]{3,80}, |"
            r"\bin the (role|voice) of\b|\bas if you (were|are)\b",
        ),
    ),
    (Task.translation, _matches(rf"\btranslat(e|ion|ing)\b|\bhow do you say\b.*\bin ({_LANGUAGES})\b", "request")),
    (Task.code, _matches(_ASKED_FOR_CODE)),
    (Task.code, _answered_in_code),
    (
        Task.creative_writing,
        _matches(rf"{_MAKE} (an? |the )?([\w-]+ ){{0,3}}{_TEXTS}\b(?!.*\b(summari[sz]e|rewrite|rephrase)\b)"),
    ),
    (
        Task.summarization,
        _matches(
            r"\bsummari[sz]\w*|(?<!based on this )(?<!based on the )(?<!from the )\bsummary\b|\btl;?dr\b|\bcondense\b|"
            r"\bsum up\b|\bmain (idea|points?)\b|\bgist\b"
        ),
    ),
    (Task.summarization, _matches(r"\b(what is|write|give|give me) an? ([\w-]+ ){0,2}summary\b", "request")),
    (
        Task.classification,
        _matches(
            r"\bclassif\w+|\bcategori[sz]\w*|\bcategor(y|ies)\b|\b(true or false|true, false|yes or no|yes/no|"
            r"spam or)\b|"
            r"\bsentiment\b|\b(detect|determine|decide|judge|predict|verify|evaluate|check|tell me|state|identify|"
            r"indicate)"
            r" (if|whether)\b|\bidentify (the|all) .*\b(genre|type|tone|emotion)\b|\bdetect\b|\boptions?\s*[:(]|"
            r"\b(option|choice) ?(1|a)\b|\bchoices\b|\b(choose|select|pick) .*\b(from|between|option|correct|"
            r"incorrect|best)"
            r"\b|\bdoes (this|the) (following )?(sentence|text|passage|review|information)\b|"
            r"\bwhich of (the following|these)"
            r"\b|\b(output|answer with|respond with) (true|yes|['\"]?\w+['\"]? or )|\b(odd one out|"
            r"incorrect statement)\b|"
            r"\bis (it|this|the following) an? .* or\b|\bcandidates include\b|\binto (\w+ )?(groups|categories|"
            r"classes)\b"
        ),
    ),
    (
        Task.classification,
        _matches(
            r"\n\s*\(?(a|1)[).:] .+\n\s*\(?(b|2)[).:] |\b(choices|options|possible answers):|\bchoose your answer|"
            r"\bhypothesis\b.*\bentail|\bentail.*\bhypothesis\b|\ba: more\b|"
            r"\b(two (sentences|statements|questions)|same meaning)\b.*\b(output|answer|label|whether|if)\b",
            "request",
        ),
    ),
    (Task.math, _calculates),
    (
        Task.extraction,
        _matches(
            r"\bextract\b|\bmentioned in\b|\b(find|identify|list|output|highlight|underline|select|locate|spot|name|"
            r"return)"
            r" (all|the|every|any|which) [\w' -]{2,60}\b(from|in|of|between) (the|this|a|following|given|"
            r"them)\b.*\b(text|"
            r"sentences?|paragraph|passage|article|list|review|e-?mail|dialogue|poem|document|words|title|quote|"
            r"abstract|"
            r"input|statement)\b|\bpos tags?\b|\bnamed entit|\blink all\b|^given (a|the|this) [\w -]*(text|sentences?|"
            r"passage|paragraph|table),? (find|identify|provide|list|return|output)\b"
        ),
    ),
    (
        Task.rewriting,
        _matches(
            r"\b(rewrite|re-write|rephrase|paraphrase|reword|edit|proofread|rearrange|re-?order|reorgani[sz]e|reformat|"
            r"format|revise|replace|delete|remove|insert|capitali[sz]e|correct|fix|shorten|convert|transform|simplify|"
            r"fill in|unscramble|punctuat\w+|restructure|substitute|arrange|modify|polish|invert|reverse|"
            r"alphabeti[sz]e|"
            r"sort|adapt)\b|^\W*(order|organi[sz]e|rank) the\b|\b(combine|expand|complete|continue|finish|change|turn|"
            r"add|"
            r"adjust|improve|update)\b.*\b(sentences?|text|paragraph|phrase|passage|story|words?|voice|tense|quote|"
            r"poem|"
            r"proverb|title|following|dialogue|lyrics|list)\b|\bmake (the|this|it)\b.*\bmore\b|^\W*take the text\b|"
            r"\bgrammar\b|"
            r"\b(missing word|blank)\b|^say this in\b"
        ),
    ),
    (Task.brainstorming, _matches(rf"\bbrainstorm\b|\b(suggest|recommend|come up with|think of)\b.*\b{_THINGS}\b")),
    (
        Task.planning,
        _matches(
            r"\b(plan|schedule|itinerary|agenda|recipes?|to-?do list|routine|roadmap|step[- ]by[- ]step|timetable|"
            r"(detailed|monthly|weekly|travel) budget|experiment (to|that)|(steps|instructions|procedure|guide|"
            r"process|strategy) (to|for|of|on)|"
            r"steps\b.*\b(need|take|involved)|how (to|do i|can i|should i|would you|do you) (make|build|cook|prepare|"
            r"create|set up|start|organi[sz]e|install|plan|bake|clean))\b"
        ),
    ),
    (
        Task.creative_writing,
        _matches(
            rf"{_MAKE}[^.?!]*\b{_TEXTS}\b|^\W*(write|compose|draft|pen|reply|respond)\b|"
            rf"\btell (me )?an? ([\w-]+ )?(story|joke)|"
            r"\bhaiku\b|\bwrite\b|\bsomething funny\b|\b(sending|send) an e-?mail\b|\bas a joke\b|\bmovie plot\b"
        ),
    ),
    (
        Task.brainstorming,
        _matches(
            rf"^\W*((can|could) you |please )?(list|name|suggest|give|provide|generate|find|make|create|produce|share|"
            rf"offer|"
            rf"recommend|identify|tell me|what are|propose|think of|come up with|devise|add|synthesi[sz]e)\b"
            rf"(?=.*(\b(\d+|one|two|three|four|five|six|seven|eight|ten|some|several|few|different|various|list|"
            rf"multiple|"
            rf"potential|possible|examples?|creative|unique)\b|^[^.]*$)).*\b{_THINGS}\b"
            r"|^\W*(suggest|propose|recommend|come up with|invent|design|devise|formulate|develop|try coming up)\b|"
            r"\bidentify \d+|\blist of\b|\bexamples of\b|\b(name|list) (two|three|four|five|six|ten|\d+|some|a few)\b"
        ),
    ),
    (Task.closed_qa, _about_a_text),
    (Task.open_qa, lambda a: _ASKS.search(a.lead) is not None or a.request.endswith("?")),
    (Task.creative_writing, _matches(_MAKE)),
)
"""Kind, and when a row is of it: the first that holds wins, so the special stand before the general."""
