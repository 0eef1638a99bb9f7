"""Forms with one file: its bytes and name, or one sentence."""

import pytest

from spikesight.service.http.errors import ServiceError
from spikesight.service.upload.multipart import file_of

KIND = "multipart/form-data; boundary=b"
HEAD = 'Content-Disposition: form-data; name="file"; filename="f.png"'


def form(*parts: tuple[str, bytes], end: str = "--b--\r\n", boundary: str = "b") -> bytes:
    out = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    return out + end.encode()


@pytest.mark.parametrize(
    ("head", "data", "name"),
    [
        (HEAD, b"\r\n--a boundary of another\r\n\0", "f.png"),
        (HEAD.replace("Content-D", "CONTENT-D"), b"x", "f.png"),
        (f"X-Other: 1\r\n{HEAD}\r\nContent-Type: image/png", b"x", "f.png"),
        ('Content-Disposition: form-data; name="file"', b"", ""),
    ],
)
def test_a_files_bytes_and_name(head: str, data: bytes, name: str) -> None:
    assert file_of(KIND, form((head, data))) == (data, name)


NO_FILE = "needs one file in the field"


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        (KIND, form((HEAD, b"x"), (HEAD, b"y")), "more than one part"),
        (KIND, form(('Content-Disposition: form-data; name="other"', b"x")), NO_FILE),
        (KIND, form(('Content-Disposition: attachment; name="file"', b"x")), NO_FILE),
        (KIND, form(("X: y", b"x")), NO_FILE),
        (KIND, form((HEAD, b"x"), end=""), "malformed"),
        (KIND, b"--b--\r\n", "malformed"),
        (KIND, b"", "malformed"),
        (KIND, form((HEAD, b"x"), boundary="c"), "malformed"),
        (KIND, form((f"{HEAD}\r\nX-Long: {'a' * 10_000}", b"x")), "malformed"),
        ("multipart/form-data; boundary=", form((HEAD, b"x"), end="----\r\n", boundary=""), "malformed"),
    ],
)
def test_what_is_no_such_form_is_one_sentence(kind: str, body: bytes, sentence: str) -> None:
    with pytest.raises(ServiceError, match=sentence) as caught:
        file_of(kind, body)
    assert caught.value.status == 400
