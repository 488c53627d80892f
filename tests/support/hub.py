"""A stand-in for a hub, on 127.0.0.1: what huggingface_hub asks to upload and to download."""

import base64
import contextlib
import hashlib
import json
import re
import shutil
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_the_owner"
_LARGE = 1 << 20
"""Bytes from which on a file goes up by itself, by the protocol of Git LFS."""


@dataclass
class Repository:
    """Of each commit the files, by path the digest of what they hold; of each branch its commit."""

    private: bool = False
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files, branch="main"):
        content = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        told = json.dumps([len(self.commits), content])
        name = hashlib.sha1(told.encode()).hexdigest()
        self.commits[name] = content
        self.branches[branch] = name
        return name


class Hub(ThreadingHTTPServer):
    """`repositories` by name, what files hold in a folder by digest, `asked` for each request."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repositories = {}
        self.asked = []

    def keep(self, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def put(self, name, files, branch="main"):
        """Commit files, by path what they hold; returns the commit."""
        repository = self.repositories.setdefault(name, Repository())
        return repository.commit({path: self.keep(raw) for path, raw in files.items()}, branch)

    def files(self, name):
        """Of a repository's newest commit the files, by path what they hold."""
        repository = self.repositories[name]
        newest = repository.commits[repository.branches["main"]]
        return {path: (self.folder / digest).read_bytes() for path, digest in newest.items()}

    def downloaded(self):
        """The paths of the files that were fetched, each once."""
        found = (re.fullmatch(r"GET /.+?/resolve/\w+/(.*)", line) for line in self.asked)
        return {match[1] for match in found if match}


@contextlib.contextmanager
def serving(folder):
    hub = Hub(folder)
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing on stderr."""

    def do_HEAD(self):
        self._route("HEAD")

    def do_GET(self):
        self._route("GET")

    def do_POST(self):
        self._route("POST")

    def do_PUT(self):
        self._route("PUT")

    def _route(self, method):
        hub = self.server
        body = self._body()
        address = urlsplit(self.path)
        path = unquote(address.path)
        hub.asked.append(f"{method} {path}")
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return answer(self, body, *match.groups(), **parse_qs(address.query))
        return self._refuse(404, "EntryNotFound")

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = bytearray()
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(content)

    def _answer(self, content, **headers):
        raw = json.dumps(content).encode()
        self._head(200, {"Content-Type": "application/json", **headers}, len(raw))
        self.wfile.write(raw)

    def _refuse(self, status, code):
        self._head(status, {"X-Error-Code": code}, 0)

    def _head(self, status, headers, size):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _found(self, name, revision="main"):
        """A repository and its commit; None, with the refusal sent, where there is none to see."""
        repository = self.server.repositories.get(name)
        is_owner = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not is_owner):
            return self._refuse(401, "RepoNotFound")
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits and repository.commits:
            return self._refuse(404, "RevisionNotFound")
        return repository, commit

    def create(self, body):
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.server.repositories.setdefault(name, Repository(private))
        self._answer({"url": f"{self.server.endpoint}/{name}"})

    def check_card(self, body):
        self._answer({"errors": [], "warnings": []})

    def choose_ways(self, body, name, revision):
        if self._found(name):
            self._answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["size"] >= _LARGE else "regular",
                            "shouldIgnore": False,
                        }
                        for file in json.loads(body)["files"]
                    ]
                }
            )

    def batch(self, body, name):
        objects = json.loads(body)["objects"]
        for one in objects:
            one["actions"] = {"upload": {"href": f"{self.server.endpoint}/large/{one['oid']}"}}
        self._answer({"objects": objects})

    def receive(self, body, digest):
        assert self.server.keep(body) == digest
        self._head(200, {}, 0)

    def commit(self, body, name, revision):
        if not (found := self._found(name)):
            return
        files = {}
        for line in body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "file":
                files[value["path"]] = self.server.keep(base64.b64decode(value["content"]))
            elif part["key"] == "lfsFile":
                files[value["path"]] = value["oid"]
        commit = found[0].commit(files, revision)
        url = f"{self.server.endpoint}/{name}/commit/{commit}"
        self._answer({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})

    def info(self, body, name, revision=None):
        if found := self._found(name, revision or "main"):
            repository, commit = found
            self._answer({"id": name, "sha": commit, "private": repository.private})

    def tree(self, body, name, revision, **_):
        if not (found := self._found(name, revision)):
            return
        repository, commit = found
        self._answer(
            [
                {
                    "type": "file",
                    "path": path,
                    "oid": digest[:40],
                    "size": (self.server.folder / digest).stat().st_size,
                }
                for path, digest in repository.commits[commit].items()
            ]
        )

    def send(self, body, method, name, revision, path):
        if not (found := self._found(name, revision)):
            return
        repository, commit = found
        digest = repository.commits[commit].get(path)
        if digest is None:
            self._refuse(404, "EntryNotFound")
            return
        file = self.server.folder / digest
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit}
        self._head(200, headers, file.stat().st_size)
        if method == "GET":
            with file.open("rb") as content:
                shutil.copyfileobj(content, self.wfile)


_NAME = "([^/]+/[^/]+)"
_ROUTES = [
    ("POST /api/repos/create", _Handler.create),
    ("POST /api/validate-yaml", _Handler.check_card),
    (f"POST /api/(?:models|datasets)/{_NAME}/preupload/(.+)", _Handler.choose_ways),
    (f"POST /{_NAME}.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT /large/(.+)", _Handler.receive),
    (f"POST /api/(?:models|datasets)/{_NAME}/commit/(.+)", _Handler.commit),
    (f"GET /api/(?:models|datasets)/{_NAME}", _Handler.info),
    (f"GET /api/(?:models|datasets)/{_NAME}/revision/(.+)", _Handler.info),
    (f"GET /api/(?:models|datasets)/{_NAME}/tree/([^/]+)", _Handler.tree),
    (f"(HEAD|GET) /(?:datasets/)?{_NAME}/resolve/([^/]+)/(.+)", _Handler.send),
]
"""Requests, and what answers them."""
