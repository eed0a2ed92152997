"""Deal -> prompt, by a template; and the reply that the built-in template asks for.

Templates are Jinja texts, so that a model can be scored on the wording it was trained on. A template sees

    cards      list of ranks as shown, e.g. ["K", "5", "A", "2"]
    J, Q, K    what the face cards count as
    rule       the rule's name: "id", "ood" or "J=5,Q=7,K=9"
    target     the number to reach
    numbers    what the cards count as, in the order shown
    count      how many cards there are, in words: "four"

and must use ``cards`` and at least one of ``J``, ``Q``, ``K``, ``rule`` (else ID and OOD prompts would be
equal); or ``numbers`` and ``target`` alone, and then it asks deals of plain numbers. Without ``count`` it
asks about four cards. It runs in Jinja's sandbox.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, lru_cache
from pathlib import Path

import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from points24.tasks.cards import CARDS_PER_DEAL, NUMBERS, RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.time_limit import time_limit

FIELDS = frozenset({"cards", "J", "Q", "K", "rule", "target", "numbers", "count"})
_RULE_FIELDS = frozenset({"J", "Q", "K", "rule"})
_NUMBER_FIELDS = frozenset({"numbers", "target"})
_TEMPLATES = Path(__file__).parent / "templates"
BUILT_IN = _TEMPLATES / "default.jinja"
NAMED = {path.stem: path for path in sorted(_TEMPLATES.glob("*.jinja"))}
"""The templates that a name is enough for: `counted` says what `default` says, for any number of cards."""
COUNTS = {3: "three", 4: "four", 5: "five", 6: "six"}
_JINJA = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)


class _Text:
    """A Jinja text about a deal.

    Raises:
        InputError: the text is not Jinja, has an unknown or a missing field, or cannot render a deal.
    """

    more_fields: frozenset[str] = frozenset()

    def __init__(self, source: str, name: str = "template"):
        self.source = source
        try:
            used = jinja2.meta.find_undeclared_variables(_JINJA.parse(source))
            self._jinja = _JINJA.from_string(source)
        except jinja2.TemplateSyntaxError as e:
            raise InputError(f"{name}: not a Jinja template: {e.message}, line {e.lineno}") from e
        allowed = FIELDS | self.more_fields
        if unknown := used - allowed:
            raise InputError(f"{name}: unknown fields {_listed(unknown)}; allowed: {_listed(allowed)}")
        self.check(used, name)
        try:
            with time_limit("rendering"):
                self._rendered(
                    Deal(("K", "5", "A", "2"), RULES["ood"]), **dict.fromkeys(self.more_fields, "1+1")
                )
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as e:
            raise InputError(f"{name}: cannot render a deal: {e}") from e

    def check(self, used: set[str], name: str) -> None:
        raise NotImplementedError

    def _rendered(self, deal: Deal, **more: str) -> str:
        return self._jinja.render(
            cards=list(deal.cards),
            numbers=list(deal.values),
            rule=deal.rule.name,
            target=deal.target,
            count=COUNTS[len(deal.cards)],
            **deal.rule.letters,
            **more,
        )


class Template(_Text):
    """A prompt template.

    Args:
        source: the Jinja text; Jinja drops one final newline.
        name: its name in error messages.

    Raises:
        InputError: the text is not Jinja, has an unknown or a missing field, or cannot render a deal.
    """

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the template's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def check(self, used: set[str], name: str) -> None:
        self._name = name
        self._of_numbers = used == _NUMBER_FIELDS
        self._counts = "count" in used or self._of_numbers
        if not self._of_numbers and ("cards" not in used or not used & _RULE_FIELDS):
            raise InputError(
                f"{name}: a template needs 'cards' and one of {_listed(_RULE_FIELDS)}; "
                f"found {_listed(used) or 'no field'}"
            )

    def render(self, deal: Deal) -> str:
        """The prompt for a deal.

        Raises:
            InputError: it asks about cards, and the deal is of plain numbers, or the other way round; or the
                deal has another number of cards than it asks about.
        """
        if self._of_numbers != (deal.rule == NUMBERS):
            kinds = ("numbers", "cards") if self._of_numbers else ("cards", "numbers")
            raise InputError(f"{self._name}: asks about {kinds[0]}; the deals are of {kinds[1]}")
        if not self._counts and len(deal.cards) != CARDS_PER_DEAL:
            raise InputError(
                f"{self._name}: asks about {CARDS_PER_DEAL} cards, found a deal of {len(deal.cards)}; "
                "a template that uses 'count', such as 'counted', asks about any number"
            )
        return self._rendered(deal)


class ReplyTemplate(_Text):
    """The layout of the reply that a prompt asks for; it also sees ``formula``, and must use it."""

    more_fields = frozenset({"formula"})

    def check(self, used: set[str], name: str) -> None:
        if "formula" not in used:
            raise InputError(f"{name}: a reply needs 'formula'; found {_listed(used) or 'no field'}")

    def render(self, deal: Deal, formula: str) -> str:
        """The reply with a formula."""
        return self._rendered(deal, formula=formula)


@lru_cache(maxsize=8)
def template(path: str | None = None) -> Template:
    """The template in a file, one of `NAMED`, or by default the built-in one.

    Raises:
        InputError: the file cannot be read or is no template.
    """
    if path is None:
        return Template(BUILT_IN.read_text("utf-8"), "built-in template")
    try:
        return Template((NAMED.get(path) or Path(path).expanduser()).read_text("utf-8"), f"template {path}")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"template {path}: cannot be read as UTF-8 text: {e}") from e


def json_reply(deal: Deal, formula: str) -> str:
    """The reply that the prompts of `points24` and `numbers` ask for: the deal, and a formula."""
    return json.dumps(deal.rule.stated(deal.cards) | {"formula": formula})


def _listed(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names))
