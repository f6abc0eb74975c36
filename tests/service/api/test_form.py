"""Forms are split into their parts, and refused if they are too much work or not whole."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.form import FormPart, split
from service.errors import MalformedError, RequestError, TooLargeError

TYPE = "multipart/form-data; boundary=b"
FILE = 'Content-Disposition: form-data; name="f"; filename="x"'


def part(content: bytes, *lines: str) -> bytes:
    """A part of a form, with these header lines."""
    return b"--b\r\n" + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + content + b"\r\n"


def form(*contents: bytes) -> bytes:
    """A form with a file of each content."""
    return b"".join(part(each, FILE) for each in contents) + b"--b--\r\n"


@given(contents=st.lists(st.binary(max_size=50).filter(lambda each: b"\r\n--b" not in b"\r\n" + each), max_size=4))
def test_the_parts_have_the_contents_that_were_sent(contents: list[bytes]) -> None:
    assert split(form(*contents), TYPE, 4) == [FormPart("f", "", content, is_file=True) for content in contents]


def test_a_part_has_a_name_a_media_type_and_perhaps_a_filename() -> None:
    parts = part(b"1", 'content-disposition: form-data; name="bé"', "CONTENT-TYPE: image/png") + part(b"2", FILE)
    assert split(parts + b"--b--", TYPE, 2) == [
        FormPart("bé", "image/png", b"1", is_file=False),
        FormPart("f", "", b"2", is_file=True),
    ]


def test_one_part_more_than_the_limit_is_refused() -> None:
    assert len(split(form(*[b"a"] * 3), TYPE, 3)) == 3
    with pytest.raises(TooLargeError, match="images: at most 3 in a request"):
        split(form(*[b"a"] * 4), TYPE, 3)


def test_the_refusal_of_a_part_beyond_the_limit_says_how_many_parts_there_are_at_least() -> None:
    with pytest.raises(TooLargeError) as caught:
        split(form(*[b"a"] * 5), TYPE, 3)
    assert caught.value.errors[0].value == "at least 4"


def test_parts_after_the_limit_are_not_parsed() -> None:
    """A body of 8 MiB may have 127,000 parts, which would take seconds."""
    with pytest.raises(TooLargeError):
        split(form(b"a", b"a") + b"this is no form", TYPE, 1)


@pytest.mark.parametrize("line", ["a: " + 2000 * "b", "a: " + 2000 * " ", 2000 * "a" + ": b"])
def test_a_long_header_of_a_part_is_refused(line: str) -> None:
    with pytest.raises(MalformedError, match=r"body: is not a form: .*size"):
        split(part(b"a", FILE, line) + b"--b--", TYPE, 1)


@pytest.mark.parametrize("line", ["a: " + 1500 * "b", 1502 * "a" + ":"])
def test_the_refusal_of_a_long_header_names_the_limit_and_its_length(line: str) -> None:
    with pytest.raises(MalformedError, match="the size of a header of a part is at most 1,024 bytes") as caught:
        split(part(b"a", FILE, line) + b"--b--", TYPE, 1)
    assert caught.value.errors[0].value == "1,503 bytes"


def test_the_refusal_of_too_many_headers_names_the_limit() -> None:
    assert split(part(b"a", FILE, *["a: b"] * 7) + b"--b--", TYPE, 1)
    with pytest.raises(MalformedError, match="a part has at most 8 headers") as caught:
        split(part(b"a", FILE, *["a: b"] * 8) + b"--b--", TYPE, 1)
    assert caught.value.errors[0].value == "at least 9"


@pytest.mark.parametrize("length", range(len(form(b"one", b"two")) - len("--\r\n")))
def test_a_form_that_was_cut_off_is_refused_and_never_read_without_its_last_part(length: int) -> None:
    with pytest.raises(MalformedError, match=r"body: is not a (whole )?form"):
        split(form(b"one", b"two")[:length], TYPE, 2)


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "undefined", "utf-16", "no-charset"])
def test_the_charset_of_a_form_has_no_effect(charset: str) -> None:
    """Python would take minutes for a long name in Punycode, and makes names of UTF-7 that no answer can repeat."""
    body = part(b"a", 'Content-Disposition: form-data; name="+2AA-"') + b"--b--"
    assert [each.name for each in split(body, f"{TYPE}; charset={charset}", 1)] == ["+2AA-"]


def test_a_part_without_a_name_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"body\.1: needs a name"):
        split(part(b"a", FILE) + part(b"b", "Content-Type: image/png") + b"--b--", TYPE, 2)


@pytest.mark.parametrize("parameters", ["", "; boundary", "; boundary=", '; boundary=""'])
def test_a_form_without_a_boundary_is_refused(parameters: str) -> None:
    with pytest.raises(MalformedError, match="content-type: a form needs a boundary"):
        split(form(b"a"), f"multipart/form-data{parameters}", 1)


@given(body=st.binary(max_size=200).map(lambda rest: b"--b\r\nContent-Disposition: form-data; name=" + rest))
def test_any_bytes_are_split_or_refused(body: bytes) -> None:
    with suppress(RequestError):
        assert all(isinstance(each, FormPart) for each in split(body, TYPE, 3))
