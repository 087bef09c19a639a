"""The page of shared signatures stays true: its examples run, its signatures are the code's."""

import doctest
import inspect
import re
from pathlib import Path

from codesign import design, mapping

PAGE = Path(__file__).parent.parent / "docs" / "signatures.md"


def test_every_example_on_the_page_gives_what_it_says():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 20
    assert failed == 0


def test_every_signature_on_the_page_is_the_code_s():
    stated = re.findall(r"^\| `(\w+)\.(\w+)(\(.*?\) -> .*?)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(stated) == 8
    for owner, method, escaped in stated:
        signature = escaped.replace("\\|", "|")  # a bar in a table
        protocol = getattr(mapping, owner, None) or getattr(design, owner)
        code = str(inspect.signature(getattr(protocol, method))).replace("'", "")
        assert signature == code, f"{owner}.{method}"
