"""What a test may say after a hidden one has run: texts of the teacher's, without the values in them."""

from __future__ import annotations

import pytest

from grading.engine.words import Words

SECRET = "QXNzZXJ0IHRoZSBzZWNyZXQ="


@pytest.mark.parametrize(
    ("source", "printed", "told"),
    [
        ('print("FEEDBACK: no mean")', "FEEDBACK: no mean", ["FEEDBACK: no mean"]),
        ('print("FEEDBACK: no" " mean")', "FEEDBACK: no mean", ["FEEDBACK: no mean"]),
        ('print("FEEDBACK:", "no mean")', "FEEDBACK: no mean", ["FEEDBACK: no mean"]),
        ('print("FEEDBACK: a\\nFEEDBACK: b\\n")', "FEEDBACK: b", ["FEEDBACK: b"]),
        ("print(f'FEEDBACK: {x} is not 2')", f"FEEDBACK: {SECRET} is not 2", ["FEEDBACK: … is not 2"]),
        ("print(f'FEEDBACK: {x} is not {y:.2f}!')", f"FEEDBACK: {SECRET} is not 1!", ["FEEDBACK: … is not …!"]),
        ("print('FEEDBACK: %s is not 2' % x)", f"FEEDBACK: {SECRET} is not 2", ["FEEDBACK: … is not 2"]),
        ("print('FEEDBACK: {} is not 2'.format(x))", f"FEEDBACK: {SECRET} is not 2", ["FEEDBACK: … is not 2"]),
        ("print('FEEDBACK: got ' + str(x))", f"FEEDBACK: got {SECRET}", ["FEEDBACK: got …"]),
        ("print('FEEDBACK: 50 % of it')", "FEEDBACK: 50 % of it", ["FEEDBACK: 50 % of it"]),
        ("%%time\nprint('FEEDBACK: slow')", "FEEDBACK: slow", ["FEEDBACK: slow"]),
        ('x <- function() cat("FEEDBACK: from R")', "FEEDBACK: from R", ["FEEDBACK: from R"]),
        ('if true; then echo "FEEDBACK: $x is not 2"; fi', f"FEEDBACK: {SECRET} is not 2", ["FEEDBACK: … is not 2"]),
        ("print('FEEDBACK: no mean')", f"FEEDBACK: {SECRET}", []),
        ("print('FEEDBACK: no mean')", f"FEEDBACK: no mean {SECRET}", []),
        ("print('FEEDBACK: no mean')", "FEEDBACK: no", []),
        ("print('FEEDBACK:', why)", f"FEEDBACK: {SECRET}", ["FEEDBACK: …"]),
        ("print('no mean')", "no mean", []),
        ("assert x == 'FEEDBACK' + ': y'", "FEEDBACK: y", ["FEEDBACK: y"]),
    ],
)
def test_only_texts_of_the_source_are_told(source: str, printed: str, told: list[str]) -> None:
    found = Words(source, ()).printed([printed])
    assert SECRET not in "".join(found)
    assert found == told


def test_each_is_told_once_and_in_the_order_of_the_source() -> None:
    """How often, and in which order, is for code in the kernel to choose: that could be a message, too."""
    words = Words("print('FEEDBACK: one')\nprint('FEEDBACK: two')", ())
    assert words.printed(["FEEDBACK: two", "FEEDBACK: one", "FEEDBACK: two"]) == ["FEEDBACK: one", "FEEDBACK: two"]


SOURCE = """assert x, "give one"
### BEGIN HIDDEN TESTS
assert x == 42, "forty-two"
assert x != 7, "FEEDBACK: not seven"
assert x != 8, f"FEEDBACK: not {x}"
### END HIDDEN TESTS"""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("give one", "give one"),
        ("forty-two", ""),
        ("FEEDBACK: not seven", "FEEDBACK: not seven"),
        (f"FEEDBACK: not {SECRET}", "FEEDBACK: not …"),
        (SECRET, ""),
        ("", ""),
    ],
)
def test_a_message_is_told_if_students_can_see_it_in_the_test_or_it_is_meant_for_them(message: str, told: str) -> None:
    assert Words(SOURCE, range(2, 7)).message(message) == told


@pytest.mark.parametrize("source", ["'{}'.format(x)", "f'{x}'", "'%s' % x", "str(x)"])
def test_a_text_of_nothing_but_values_tells_nothing(source: str) -> None:
    assert SECRET not in Words(f"assert x, {source}", ()).message(SECRET)
