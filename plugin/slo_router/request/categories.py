"""The task category of a request, read from its instruction alone.

A prompt is an instruction and often a document. The instruction is short. It stands in the system prompt, or in the
first or last sentences of the last user message. The document can have any length and any subject. To read it costs
time and misleads: a long extraction is still an extraction. What an agent adds to its user's words is no instruction,
either, nor is the task that it quotes when it asks for a title or a summary. `instruction_windows` therefore cuts
windows of bounded length. A `Categorizer` sees only these windows, so its cost does not grow with the prompt.

`rules` adds up the weights of the instruction words at each edge. Each word counts once. Words at the start of a
sentence ("Extract all ...") count more. The edge with the higher score is taken for the instruction. The other edge and
the middle of a short message count in part. The best category must reach `MIN_SCORE` and lead the second by `MARGIN` of
its own score. Otherwise the answer is `None`, unsure. An unsure request is predicted from pooled metrics. A wrong
category would take the metrics of another task.

`article` is the baseline of the article on SLO routing, where length decides. It is kept for comparison.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from slo_router.contract.model import CATEGORIES
from slo_router.request.forms.agents import own_question
from slo_router.request.forms.harness import instructions_of, is_added, is_step, persons, task_of

OPENING_CHARS = 1_200  # holds more than the 100 words at which the article's score saturates
EDGE_CHARS = 300  # a window that holds the instruction: system prompt, first sentences, last sentences
SHORT_CHARS = 600  # two edges; a message up to this length is read whole
RECENT_TURNS = 1_000  # the last user message is searched in so many last messages; an agent's steps may follow it
EDGE_PARTS = 8  # content parts read from each end of a message

LEAD_WORDS = 5  # words of a sentence among which its verb stands: "Could you please extract ..."
LEAD_FACTOR = 3.0  # a keyword among the lead words counts three times
SYSTEM_FACTOR = 1.5  # a system prompt is all instruction
OTHER_EDGE_FACTOR = 0.4  # the edge with the lower score is probably document
MIDDLE_FACTOR = 0.3  # the text between the edges of a short message
MIN_SCORE = 4.0  # one keyword that names its task
MARGIN = 0.2  # the second score must be lower by this fraction of the best


class Instruction(NamedTuple):
    """The bounded windows of one request. The constants above give their lengths in characters.

    `opening` and `closing` overlap when the last user message is shorter than both together.
    """

    system: str  # the first EDGE_CHARS of the system prompt
    opening: str  # the first OPENING_CHARS of the last user message
    closing: str  # the last EDGE_CHARS of the last user message


Categorizer = Callable[[Instruction], str | None]


def instruction_windows(messages_or_prompt: object) -> Instruction:
    """Cuts the windows from chat, Anthropic or Responses messages, or from a prompt (a string or list of strings).

    Anthropic's `system` and Responses' `instructions` are separate fields. Pass them as
    `[{"role": "system", "content": system}, *messages]`. Any other value gives empty windows. Raises nothing.
    """
    if isinstance(messages_or_prompt, str):
        return _windows("", _clip(messages_or_prompt))
    if not isinstance(messages_or_prompt, list) or not messages_or_prompt:
        return _windows("", "")
    system, user = "", ""
    head = messages_or_prompt[0]
    if isinstance(head, dict) and head.get("role") in ("system", "developer"):
        system = _system(head.get("content"))
    first = 1 if system else 0
    for place in range(len(messages_or_prompt) - 1, max(len(messages_or_prompt) - RECENT_TURNS, 0) - 1, -1):
        message = messages_or_prompt[place]
        if isinstance(message, dict) and message.get("role") == "user":
            user = _text(message.get("content"), is_later=place > first)
        elif isinstance(message, str):
            user = _clip(message)
        if user:
            break
    found = _windows(system, user)
    own = own_question(found.system, found.opening)
    return found if own is None else _windows("", own)


def _windows(system: str, user: str) -> Instruction:
    user = user.strip()
    return Instruction(system[:EDGE_CHARS], user[:OPENING_CHARS], user[-EDGE_CHARS:])


def _clip(text: str) -> str:
    """The two ends of a text, joined. A short text stays whole."""
    if len(text) <= OPENING_CHARS + EDGE_CHARS + 1:
        return text
    return f"{text[:OPENING_CHARS]}\n{text[-EDGE_CHARS:]}"


def _system(content: object) -> str:
    """The clipped text of a system prompt."""
    return _clip(instructions_of(content)) if isinstance(content, str) else _text(content)


def _text(content: object, *, is_later: bool = False) -> str:
    """The clipped text of a message's content. Of an agent's step only what a person says in it, mostly nothing."""
    parts = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    if len(parts) > 2 * EDGE_PARTS:
        parts = parts[:EDGE_PARTS] + parts[-EDGE_PARTS:]
    found = (part.get("text") if isinstance(part, dict) else part for part in parts)
    texts = [text for text in found if isinstance(text, str) and not is_added(text)]
    if any(is_step(text, is_later=is_later) for text in texts):
        said = [one for text in texts for one in persons(_clip(text))]
        return said[-1] if said else ""
    return _clip("\n\n".join(_clip(task_of(text)) for text in texts))


_REASONING_WORDS = frozenset(  # the article does not list its words and signs: our choice
    ("why", "how", "explain", "prove", "reason", "because", "therefore", "analyze", "compare", "calculate", "solve")
)
_MATH_SIGNS = "+*/=^<>"

# Words and phrases of an instruction, by weight: 4 names the task, 3 and 2 hint at it, 1 decides only a near tie.
_KEYWORDS: dict[str, dict[float, str]] = {
    "ner": {
        4: "extract, entities, ner, redact, anonymize, anonymise, pull out, list all, list every, extrahiere, "
        "extrahieren, extrais, extraire, extrae, extraer, extraction, personally identifiable",
        3: "identify, annotate, mentioned, named, parse, list the, which dates, which names, name all, occur, tag, "
        "as json",
        2: "names, dates, amounts, organisations, organizations, entity, fields, json, csv, spans, schema, null, "
        "list, quote, occurs, appear, get me, find all, collect, separate fields, pull, fill",
        1: "find the, companies, people, persons, places, products, return, medication, all, every",
    },
    "summarization": {
        4: "summarize, summarise, summary, summarization, summarizing, summaries, tl;dr, tldr, condense, synopsis, "
        "gist, recap, digest, sum up, sums up, boil down, key takeaways, main points, key points, executive "
        "summary, in a nutshell, rundown, zusammenfassung, fasse, résume, résumé, résumer, resume el, "
        "resumen, resumir",
        3: "shorten, overview, takeaways, highlights, abstract, main ideas, essential points, brief summary, briefing",
        2: "concise, reduce, shorter, paragraph, bullet points, in one sentence, in two sentences, conclusions, "
        "headline",
        1: "short, brief, sentences, words, article, text, report",
    },
    "reasoning": {
        4: "prove, deduce, derive, step by step, step-by-step, how many, probability, puzzle, solve, integral, in "
        "how many, prime number, next number, beweise, berechne, begründe, combien, calcula, résous",
        3: "calculate, compute, proof, reasoning, how long, how much, theorem, equation, evaluate, justify, work "
        "out, therefore, argument, logic, wie viele, wann, raisonnement, cuántos, assume, flaw, argue",
        2: "if, must, each, twice, exactly, together, why, which, how old, faster, cheaper, triangle, sequence, "
        "formula, valid, show your, without, explain your, conclusion, percent, another, truth, order, correct, "
        "decide, weigh, option, integer, integers, polynomial, maximum value, minimum value, value of, sum of, product "
        "of, smallest, largest, how far, how fast, what percentage, perimeter, radius, angle, average, remaining, "
        "half, total",
        1: "per, when, than, one, two, three, four, five, km/h, who, litres, minutes, hours, days, years, weeks, "
        "months, times, measure, difference",
    },
    "code": {
        4: "python, javascript, typescript, sql, regex, refactor, traceback, function, java, golang, rust, kotlin, "
        "haskell, bash, c++, c#, dockerfile, pytest, pandas, react, nginx, kubernetes, postgresql, css, html, "
        "def, unit tests, pull request, fonction, funktion, requête, función, code, coding, git, github, compile, "
        "linked list, ruby, php, typeerror, nullpointerexception, segfault",
        3: "implement, debug, bug, bugs, script, api, query, compiler, exception, stylesheet, module, const, import, "
        "async, yaml, docker, component, endpoint, one-liner, algorithm, null pointer, memory leak, struct, software "
        "engineering",
        2: "error, method, string, array, fix, convert, fails, port, loop, type hints, throws, config, cache, write "
        "a, migration, table, index, ide, engineer, cursor",
        1: "add, returns, explain what, create, does, class",
    },
    "chat": {
        4: "thanks, joke, poem, can you recommend, you recommend, roleplay, small talk, hallo, bonjour, hola, merci, "
        "danke, gracias, companion, good morning, pretend, do you think, short story, wie geht's",
        3: "tell me, suggest, feel, favourite, favorite, tips, ideas, advice, what should, letter, birthday, "
        "friendly, chat with, love, conseiller, recomiendas, what would you, story, polite, politely, recommend",
        2: "hello, hi, hey, i'm, let's, what's, who, weekend, cook, help, like, is it, have you, what can, tu, plan, "
        "translate",
        1: "what, what is, do, any, could, about, think, i, my",
    },
}
# Signs of source code and mathematics, searched in both edges. They are grouped by a character that prose rarely has:
# a search for one character is ten times faster than for two.
_MARKS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "`": (("`", "code", 3.0), ("```", "code", 5.0)),
    "{": (("{\n", "code", 4.0),),
    ";": ((");", "code", 6.0), (";\n", "code", 4.0)),
    "=": ((" = ", "reasoning", 3.0), ("=> ", "code", 4.0), ("== ", "code", 4.0)),
    "^": (("^", "reasoning", 4.0),),
    "\\": (("\\", "reasoning", 4.0),),
    "_": (("_", "code", 1.5), ("__", "code", 3.0)),
}
_EXTRA_WEIGHT = 6.0  # a keyword from the configuration is more specific than those above
# Punctuation that `str.split` leaves on a word. The vocabulary holds every variant, so a request needs one split and a
# set intersection: a third of the time of a regular expression.
_BEFORE = ("", "(", '"', "'", "`", "**")
_AFTER = ("", ",", ".", ":", ";", "?", "!", ")", ").", "),", ")?", '"', "'")
_SENTENCE_END = re.compile(r"\n|[.?:] ")


class _Keyword(NamedTuple):
    phrase: str | None  # None: the word alone
    category: int  # index into the names
    weight: float
    lead_weight: float  # its weight in the lead of a sentence


_Vocabulary = Mapping[str, Sequence[_Keyword]]


def rules(extra: Mapping[str, Sequence[str]] = {}) -> Categorizer:
    """The default categorizer. `extra` adds keywords (words or phrases, case ignored) by category, known or new.

    Raises ValueError for a blank category or keyword.
    """
    names = (*CATEGORIES, *(name for name in extra if name not in CATEGORIES))
    vocabulary = _vocabulary(names, extra)

    def categorize(instruction: Instruction) -> str | None:
        first, middle, last = _sentences(instruction)
        stronger, weaker = [0.0] * len(names), [0.0] * len(names)
        _add(stronger, first, 1.0, vocabulary)
        _add(weaker, last, 1.0, vocabulary)
        if max(weaker) > max(stronger):
            stronger, weaker = weaker, stronger
        scores = [a + OTHER_EDGE_FACTOR * b for a, b in zip(stronger, weaker, strict=True)]
        _add(scores, middle, MIDDLE_FACTOR, vocabulary)
        _add(scores, instruction.system, SYSTEM_FACTOR, vocabulary)
        _add_marks(scores, instruction.opening[:EDGE_CHARS] + instruction.closing)
        best = max(scores)
        winner = scores.index(best)
        scores[winner] = 0.0
        return names[winner] if best >= MIN_SCORE and best - max(scores) >= MARGIN * best else None

    return categorize


def article(instruction: Instruction) -> str | None:
    """The article's score: words + 10 for a reasoning word + 5 for a math sign.

    Above 100 is `reasoning`, above 50 `summarization`, else `ner`; never unsure. Only the opening is counted. It holds
    100 words unless they average 11 letters, and more than 100 words change nothing.
    """
    words = instruction.opening.lower().split()
    score = len(words)
    if not _REASONING_WORDS.isdisjoint(words):
        score += 10
    if any(sign in instruction.opening for sign in _MATH_SIGNS):
        score += 5
    return "reasoning" if score > 100 else "summarization" if score > 50 else "ner"


def _sentences(instruction: Instruction) -> tuple[str, str, str]:
    """First sentences, the middle of a short message, last sentences, without overlap.

    The first part ends at a line or sentence end after at least 20 characters: a greeting alone is too little. The last
    part is the last line. Of a long last line it is the last sentence.
    """
    opening = instruction.opening
    end = _SENTENCE_END.search(opening, 20, EDGE_CHARS)
    first = opening[: end.end()] if end else opening[:EDGE_CHARS]
    rest = opening[len(first) :].rstrip() if len(opening) <= SHORT_CHARS else instruction.closing
    line = rest[-EDGE_CHARS:]
    line = line[line.rfind("\n") + 1 :]
    last = line if len(line) <= 160 else line[line.rfind(". ", 0, -2) + 1 :]
    middle = rest[: len(rest) - len(last)] if len(opening) <= SHORT_CHARS else ""
    return first, middle, last


def _add(scores: list[float], text: str, factor: float, vocabulary: _Vocabulary) -> None:
    """Adds the weights of a text's keywords, times `factor`, to each category's score."""
    if not text:
        return
    text = text.lower()
    words = text.split()
    lead = words[:LEAD_WORDS]
    for word in vocabulary.keys() & words:
        in_lead = word in lead
        for phrase, category, weight, lead_weight in vocabulary[word]:
            if phrase is None or phrase in text:
                scores[category] += factor * (lead_weight if in_lead else weight)


def _add_marks(scores: list[float], text: str) -> None:
    for character, marks in _MARKS.items():
        if character in text:
            for mark, category, weight in marks:
                if mark in text:
                    scores[CATEGORIES.index(category)] += weight


def _vocabulary(names: tuple[str, ...], extra: Mapping[str, Sequence[str]]) -> _Vocabulary:
    """Keywords by their longest word, which is the rarest in prose, with every punctuation around it."""
    vocabulary: dict[str, list[_Keyword]] = {}
    listed = [(category, weight, text.split(", ")) for category, by in _KEYWORDS.items() for weight, text in by.items()]
    given = [(category, _EXTRA_WEIGHT, list(keywords)) for category, keywords in extra.items()]
    for category, weight, keywords in listed + given:
        for keyword in keywords:
            if not keyword.strip() or not category.strip():
                raise ValueError(f"category {category!r}: keyword {keyword!r}: expected words, got a blank")
            words = keyword.lower().split()
            phrase = " ".join(words) if len(words) > 1 else None
            entry = _Keyword(phrase, names.index(category), weight, weight * LEAD_FACTOR if weight > 1.0 else weight)
            for before, after in product(_BEFORE, _AFTER):
                vocabulary.setdefault(before + max(words, key=len) + after, []).append(entry)
    return vocabulary
