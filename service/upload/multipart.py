"""Parse a multipart form with one file, from bytes already in memory; the parser limits the headers."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from spikesight.service.http.errors import ServiceError

BAD_FORM = "the form is malformed: send multipart/form-data with one file in the field 'file'"


class _Form:
    def __init__(self) -> None:
        self.name = self.value = self.disposition = b""  # the present header; the part's content-disposition
        self.filename = ""
        self.data: list[bytes] = []
        self.parts = 0
        self.complete = False

    def begin(self) -> None:
        self.parts += 1
        if self.parts > 1:
            raise ServiceError(400, "the form has more than one part: send one file in the field 'file'")

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.disposition = self.value
        self.name = self.value = b""

    def headers_finished(self) -> None:
        kind, options = parse_options_header(self.disposition)
        if kind != b"form-data" or options.get(b"name") != b"file":
            raise ServiceError(400, "the form needs one file in the field 'file'")
        self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.data.append(data[start:end])

    def finish(self) -> None:
        self.complete = True


def file_of(content_type: str, body: bytes) -> tuple[bytes, str]:
    """Return the file's bytes and its name as the client wrote it. Raises ServiceError 400."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise ServiceError(400, BAD_FORM)
    form = _Form()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.begin,
            "on_header_field": form.header_name,
            "on_header_value": form.header_value,
            "on_header_end": form.header_end,
            "on_headers_finished": form.headers_finished,
            "on_part_data": form.part_data,
            "on_end": form.finish,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise ServiceError(400, BAD_FORM) from None
    if not form.complete or form.parts != 1:
        raise ServiceError(400, BAD_FORM)
    return b"".join(form.data), form.filename
