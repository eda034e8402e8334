"""Every string a person reads can be translated, and is, into French."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from classroom.places import CHECKOUT

GETTEXT = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy", "npgettext"}
# Keyword arguments whose value is shown to people, wherever they stand.
SHOWN = {"label", "help_text", "verbose_name", "verbose_name_plural", "user_message", "empty_label", "error_messages"}
TRANSLATED = re.compile(
    r"{%-?\s*blocktrans(?:late)?\b.*?{%-?\s*endblocktrans(?:late)?\s*-?%}|{%.*?%}|{{.*?}}|{#.*?#}"
    r"|{%\s*comment.*?endcomment\s*%}",
    re.DOTALL,
)
# Attributes that are read out or shown.
READ_OUT = {"alt", "title", "placeholder", "aria-label", "aria-description", "summary"}
# Marks, names and figures that are the same in every language.
SAME_EVERYWHERE = re.compile(r"^(?:[\W\d_]|&\w+;|Pupitre|Jupyter|Google|CSV|SHA-256|CPU|GPU|JSON)*$")
# A block that stands inside a tag.
ATTRIBUTES = re.compile(r'^(?:[\w-]+="[^"]*"\s*)+$')
LOCALE = CHECKOUT / "locale" / "fr" / "LC_MESSAGES"


def product_files() -> Iterator[Path]:
    for folder in ("classroom", "grading", "runtimes"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            if not {"migrations", "demo", "management", "agent"} & set(path.parts):
                yield path


def template_files() -> list[Path]:
    """Pages, and the texts of mails and receipts."""
    found = [*CHECKOUT.rglob("templates/**/*.html"), *CHECKOUT.rglob("templates/**/*.txt")]
    # The chart's are for administrators, in English like its values.
    chart = CHECKOUT / "deploy"
    return [path for path in sorted(found) if path.name != "patterns.html" and not path.is_relative_to(chart)]


class Text(HTMLParser):
    """Collects what people read in a template whose tags were taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = 0
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "code", "kbd"}:
            self.silent += 1
        self.found += [value for name, value in attrs if name in READ_OUT and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in READ_OUT and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "code", "kbd"}:
            self.silent -= 1

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.found.append(data)


def untranslated_in(template: str, *, plain: bool = False) -> list[str]:
    """Words outside every translation; of a `plain` template, which is no HTML, lines with such words."""
    reader = Text()
    text = TRANSLATED.sub("", template)
    if plain:
        reader.found = text.splitlines()
    else:
        reader.feed(text)
    return [
        text.strip()
        for text in reader.found
        if not SAME_EVERYWHERE.match(text.strip()) and not ATTRIBUTES.match(text.strip())
    ]


def test_no_template_shows_untranslated_words():
    found = {str(path.relative_to(CHECKOUT)): untranslated_in(path.read_text(), plain=path.suffix == ".txt")
             for path in template_files()}  # fmt: skip
    assert not {name: texts for name, texts in found.items() if texts}


def test_untranslated_words_in_a_template_are_noticed():
    plain = "{% load i18n %}{% translate 'Hello' %} {{ name }},\nyour score is {{ score }} & fine.\n-- \n"
    assert untranslated_in(plain, plain=True) == ["your score is  & fine."]
    assert {"receipt.txt", "invitation.txt", "feedback.txt"} <= {path.name for path in template_files()}
    assert untranslated_in('<p>{% translate "Hello" %} you</p><img alt="a cat">') == ["you", "a cat"]
    assert (
        untranslated_in("<p>{% blocktranslate %}Hello {{ you }}{% endblocktranslate %} · 12 <code>x</code></p>") == []
    )


def plain_text(node: ast.expr) -> bool:
    """True for a string literal with letters, also an f-string, that no gettext function is around."""
    if isinstance(node, ast.JoinedStr):
        return any(plain_text(part) for part in node.values)
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(re.search(r"[A-Za-z]{2}", node.value))
    )


def untranslated_python(tree: ast.AST) -> Iterator[int]:
    """Lines on which something shown to people is a plain string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (word.value.lineno for word in node.keywords if word.arg in SHOWN and plain_text(word.value))
            yield from (argument.lineno for argument in shown_arguments(node) if plain_text(argument))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            names |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
            if (
                names & {"user_message", "verbose_name", "verbose_name_plural"}
                and node.value
                and plain_text(node.value)
            ):
                yield node.lineno


def shown_arguments(call: ast.Call) -> list[ast.expr]:
    """The positional arguments of a call that people will read: messages.success(request, …), ValidationError(…)."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    if owner == "messages" and name in {"success", "info", "warning", "error"}:
        return call.args[1:2]
    return call.args[:1] if name == "ValidationError" else []


def test_no_code_shows_untranslated_words():
    found = [
        f"{path.relative_to(CHECKOUT)}:{line}"
        for path in product_files()
        for line in untranslated_python(ast.parse(path.read_text()))
    ]
    # A model's or form's verbose name that nobody sees is short for its own name.
    assert not found


def test_french_marks_stay_with_their_words():
    """A no-break space before : ; ? ! » and %, and after «, so that no line begins with one."""
    with (LOCALE / "django.po").open("rb") as file:
        catalogue = read_po(file, locale="fr")
    texts = [
        text for one in catalogue if one.id for text in ([one.string] if isinstance(one.string, str) else one.string)
    ]
    assert not [text for text in texts if re.search(r" [:;?!»](?=[\s\")<]|$)|« |[\d}s] %%?(?=[\s.,;)]|$)", text)]


def test_french_says_per_cent_where_english_does():
    """No sign that nobody can read stands in for one."""
    with (LOCALE / "django.po").open("rb") as file:
        catalogue = read_po(file, locale="fr")
    texts = [(_strings(one.id)[-1], text) for one in catalogue if one.id for text in _strings(one.string)]
    assert not [
        text for _msgid, text in texts if any(unicodedata.category(sign) == "Cc" for sign in text if sign != "\n")
    ]
    per_cent = re.compile(r"(?<=[\d}s])[ \u00a0]%%?(?![(\w{])")
    assert not [pair for pair in texts if len({bool(per_cent.search(text)) for text in pair}) > 1]


@pytest.mark.parametrize(
    "code",
    [
        'CharField(label="Name")',
        'user_message = "Try again."',
        'messages.error(request, f"No {x} here")',
        'raise ValidationError("no")',
    ],
)
def test_untranslated_words_in_code_are_noticed(code: str):
    assert list(untranslated_python(ast.parse(code))) == [1]
    translated = re.sub(r'f?"([^"]*)"', r'_("\1")', code)
    assert list(untranslated_python(ast.parse(translated))) == []


def test_scripts_have_no_words_of_their_own():
    """What a script shows comes from the page, in data attributes and templates."""
    words = re.compile(r"""(["'`])[A-Z][a-z]+[ .,!?…](?:(?!\1).)*\1""")
    own = [*CHECKOUT.glob("static/js/*.js"), *CHECKOUT.glob("runtimes/jupyter/browser/*.js")]
    found = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for path in own
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line.split("//")[0])
    ]
    assert own
    assert not found


def test_french_is_complete():
    with (LOCALE / "django.po").open("rb") as stream:
        catalogue = read_po(stream, locale="fr")
    fuzzy = [message.id for message in catalogue if message.id and message.fuzzy]
    missing = [message.id for message in catalogue if message.id and not all(_strings(message.string))]
    assert (fuzzy, missing) == ([], [])


def _strings(value: str | tuple[str, ...] | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_french_keeps_every_placeholder():
    placeholder = re.compile(r"%\(\w+\)[sdf]|%[sd]|\{\w*\}")
    for path in sorted(LOCALE.glob("*.po")):
        with path.open("rb") as stream:
            for message in read_po(stream, locale="fr"):
                if not message.id:
                    continue
                wanted = {mark for text in _strings(message.id) for mark in placeholder.findall(text)}
                given = {mark for text in _strings(message.string) for mark in placeholder.findall(text)}
                assert given <= wanted, (message.id, message.string)
                assert (
                    _strings(message.id)[-1] == "" or set(placeholder.findall(_strings(message.id)[0])) <= given | set()
                )
