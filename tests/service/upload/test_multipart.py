"""Forms with one file: its bytes and name, or one sentence."""

import pytest

from spikesight.service.http.errors import ServiceError
from spikesight.service.upload.multipart import BAD_FORM, MAX_PART_HEADER, _Form, file_of

KIND = "multipart/form-data; boundary=b"
HEAD = 'Content-Disposition: form-data; name="file"; filename="f.png"'


def form(*parts: tuple[str, bytes], end: str = "--b--\r\n", boundary: str = "b") -> bytes:
    out = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    return out + end.encode()


def test_a_files_bytes_and_name() -> None:
    data = b"\r\n--a boundary of another\r\n\0"
    assert file_of(KIND, form((HEAD, data))) == (data, "f.png")
    assert file_of(KIND, form((HEAD.replace("Content-D", "CONTENT-D"), b"x"))) == (b"x", "f.png")
    assert file_of(KIND, form((f"X-Other: 1\r\n{HEAD}\r\nContent-Type: image/png", b"x"))) == (b"x", "f.png")
    assert file_of(KIND, form(('Content-Disposition: form-data; name="file"', b""))) == (b"", "")


@pytest.mark.parametrize(("length", "good"), [(0, False), (1, True), (200, True), (201, False)])
def test_boundaries_have_a_length(length: int, good: bool) -> None:
    boundary = "b" * length
    body = form((HEAD, b"x"), end=f"--{boundary}--\r\n", boundary=boundary)
    kind = f"multipart/form-data; boundary={boundary}"
    if good:
        assert file_of(kind, body) == (b"x", "f.png")
    else:
        with pytest.raises(ServiceError, match="malformed"):
            file_of(kind, body)


def test_a_parts_header_has_a_most() -> None:
    part = _Form()
    part.header_name(b"X-Long", 0, 6)
    part.header_value(bytes(MAX_PART_HEADER), 6, MAX_PART_HEADER)
    with pytest.raises(ServiceError, match="malformed"):
        part.header_value(b"x", 0, 1)
    with pytest.raises(ServiceError, match="malformed"):
        file_of(KIND, form((f"{HEAD}\r\nX-Long: {'a' * MAX_PART_HEADER}", b"x")))


REFUSED = {
    "two files": (form((HEAD, b"x"), (HEAD, b"y")), "more than one part"),
    "another field": (form(('Content-Disposition: form-data; name="other"', b"x")), "needs one file in the field"),
    "no form-data": (form(('Content-Disposition: attachment; name="file"', b"x")), "needs one file in the field"),
    "no disposition": (form(("X: y", b"x")), "needs one file in the field"),
    "no end": (form((HEAD, b"x"), end=""), BAD_FORM),
    "no part": (b"--b--\r\n", BAD_FORM),
    "nothing": (b"", BAD_FORM),
    "another boundary": (form((HEAD, b"x"), boundary="c"), BAD_FORM),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_such_form_is_one_sentence(case: str) -> None:
    body, sentence = REFUSED[case]
    with pytest.raises(ServiceError) as caught:
        file_of(KIND, body)
    assert caught.value.status == 400
    assert sentence in str(caught.value)
