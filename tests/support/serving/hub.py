"""A Hugging Face Hub of this machine: repositories, commits and files, as far as the real client asks for them."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Commits = list[tuple[str, dict[str, bytes]]]  # of a repository: id and files, the oldest first


class Hub(ThreadingHTTPServer):
    """What was put there, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, Commits] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Put files on top of what is there; the commit's id."""
        commits = self.repositories.setdefault(repository, [])
        whole = {**(commits[-1][1] if commits else {}), **files}
        commits.append((hashlib.sha1(repr((len(commits), whole)).encode()).hexdigest(), whole))
        return commits[-1][0]

    def files(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.repositories.get(repository, [])
        return next((one for one in reversed(commits) if revision in ("main", one[0])), None)


class Answers(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
        if self.path == "/api/repos/create":
            asked = json.loads(data)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            name = name if "/" in name else f"me/{name}"
            self.server.repositories.setdefault(name, [])
            self.answer(200, {"url": f"{self.server.address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(data)["files"]
            ]
            self.answer(200, {"files": files})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            rows = [json.loads(line) for line in data.splitlines()]
            added = {r["value"]["path"]: base64.b64decode(r["value"]["content"]) for r in rows if r["key"] == "file"}
            oid = self.server.commit(found[1], added)
            self.answer(200, {"commitUrl": f"{self.server.address}/{found[1]}/commit/{oid}", "commitOid": oid})
        else:
            self.answer(404)

    def _chunks(self) -> bytes:
        data = b""
        while self.headers.get("Transfer-Encoding") and (n := int(self.rfile.readline(), 16)):
            data += self.rfile.read(n)
            self.rfile.readline()
        return data

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/(.+)/(revision|tree)/(.+)", path):
            there = self.server.files(found[1], found[3])
            if there is None:
                known = self.server.repositories.get(found[1])
                self.answer(404, X_Error_Code="RepoNotFound" if known is None else "RevisionNotFound")
            elif found[2] == "tree":
                rows = [{"type": "file", "path": k, "size": len(v), "oid": "0"} for k, v in there[1].items()]
                self.answer(200, rows)
            else:
                siblings = [{"rfilename": name} for name in there[1]]
                self.answer(200, {"id": found[1], "sha": there[0], "siblings": siblings, "tags": [], "downloads": 0})
        elif found := re.fullmatch(r"/(\w[^/]*/[^/]+)/resolve/([^/]+)/(.+)", path):
            there = self.server.files(found[1], found[2])
            if there is None or found[3] not in there[1]:
                self.answer(404, X_Error_Code="EntryNotFound")
                return
            data = there[1][found[3]]
            self.answer(200, data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=there[0])
        else:
            self.answer(404)


@contextmanager
def hub() -> Iterator[Hub]:
    """A Hub that runs meanwhile."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
