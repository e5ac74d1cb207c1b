"""A simulated Hub on loopback that supports the requests of `huggingface_hub` to create, push and download.

Large files use plain LFS. `POST /_fail` makes later requests fail. Other processes can also use it
to cause failures. Everything is kept in memory until the `with` block ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_testtokenoftheloopbackhub"
USER = "tester"
_MAX_BODY = 50_000_000
_LFS_ENDINGS = (".safetensors", ".bin", ".gz", ".parquet")
_REPO = r"(?P<name>[\w.-]+/[\w.-]+)"
_KIND = r"(?P<kind>models|datasets)"


@dataclass
class Repo:
    """A repository as a list of commits, each with a complete tree of path -> content."""

    kind: str
    name: str
    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, tree: dict[str, bytes]) -> str:
        seed = f"{self.kind}/{self.name}/{len(self.commits)}".encode()
        oid = hashlib.sha1(seed).hexdigest()
        self.commits.append((oid, tree))
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


def is_lfs(path: str) -> bool:
    """Return whether a file must be uploaded with LFS."""
    return path.endswith(_LFS_ENDINGS)


def _oid(path: str, content: bytes) -> str:
    if is_lfs(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubStandIn:
    """A server that runs at `hub.endpoint` inside `with HubStandIn() as hub: ...`."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.failures: list[dict[str, Any]] = []
        #: All requests as "METHOD /path", in order of arrival.
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        # As on the real Hub, large files are on another host, which must not receive the token.
        self.storage = f"http://localhost:{self._server.server_port}/_lfs"

    def __enter__(self) -> HubStandIn:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def add(self, name: str, tree: dict[str, bytes], kind: str = "models") -> None:
        """Add a public repository as if it had been pushed."""
        repo = self.repos[kind, name] = Repo(kind, name)
        repo.commit(tree)
        large = (content for path, content in tree.items() if is_lfs(path))
        self.large |= {hashlib.sha256(content).hexdigest(): content for content in large}

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        """Return the files of a repository's last commit."""
        return self.repos[kind, name].commits[-1][1]

    def environment(self, home: Any) -> dict[str, str]:
        """Return the environment variables of a process that uses this Hub."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    hub: HubStandIn

    ROUTES = (
        ("POST", r"/_fail", "fail"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", rf"/api/{_KIND}/{_REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", rf"/(?:{_KIND}/)?{_REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/_lfs/(?P<oid>\w+)", "lfs_put"),
        ("POST", r"/_lfs/verify", "lfs_verify"),
        ("GET", r"/_lfs/(?P<oid>\w+)", "lfs_get"),
        ("POST", rf"/api/{_KIND}/{_REPO}/commit/(?P<revision>[^/]+)", "commit"),
        ("GET", rf"/api/{_KIND}/{_REPO}(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("GET", rf"/api/{_KIND}/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
        ("POST", rf"/api/{_KIND}/{_REPO}/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("GET", rf"/(?:{_KIND}/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )

    # ---- HTTP ---------------------------------------------------------------------------------

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        self.hub = self.server.hub  # type: ignore[attr-defined]
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BODY:
            return self._error(413, "TooLarge")
        failure = self._failure(method, path)
        if failure and failure["how"] == "drop":
            # Fail in the middle of a request: read half of the body and send no response.
            self.rfile.read(length // 2)
            self.close_connection = True
            return None
        body = self.rfile.read(length)
        if failure:
            return self._json({"error": "asked to fail"}, int(failure["how"]))
        with self.hub.lock:
            self.hub.requests.append(f"{self.command} {path}")
            if self.headers["Host"].startswith("localhost") and "Authorization" in self.headers:
                return self._error(400, "TokenSentToStorage")
            for wanted, pattern, name in self.ROUTES:
                found = re.fullmatch(pattern, path)
                if wanted == method and found:
                    return getattr(self, f"_{name}")(body, **found.groupdict())
        return self._error(404, "EntryNotFound")

    def _failure(self, method: str, path: str) -> dict[str, Any] | None:
        with self.hub.lock:
            for failure in self.hub.failures:
                if failure["times"] > 0 and re.search(failure["request"], f"{method} {path}"):
                    failure["times"] -= 1
                    self.hub.requests.append(f"{method} {path} FAILED")
                    return failure
        return None

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200, **headers: str) -> None:
        data = json.dumps(content).encode()
        self._send(data, status, Content_Type="application/json", **headers)

    def _error(self, status: int, code: str) -> None:
        self._json({"error": code}, status, X_Error_Code=code)

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._error(401, "Unauthorized")
        return False

    def _find(self, kind: str | None, name: str, revision: str | None) -> Any:
        repo = self.hub.repos.get((kind or "models", name))
        if repo is None:
            return self._error(404, "RepoNotFound")
        found = repo.at(revision or "main")
        return found or self._error(404, "RevisionNotFound")

    # ---- requests -----------------------------------------------------------------------------

    def _fail(self, body: bytes) -> None:
        self.hub.failures = [json.loads(body)]
        self._json({})

    def _whoami(self, body: bytes) -> None:
        if self._may_write():
            self._json({"type": "user", "name": USER, "orgs": [], "auth": {"type": "access_token"}})

    def _validate_yaml(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        found = re.match(r"---\n(.*?)\n---\n", text, re.S)
        try:
            metadata = yaml.safe_load(found.group(1)) if found else None
        except yaml.YAMLError as error:
            return self._json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if isinstance(metadata, dict) else [{"message": "empty metadata"}]
        return self._json({"errors": [], "warnings": warnings})

    def _create(self, body: bytes) -> None:
        if not self._may_write():
            return None
        asked = json.loads(body)
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or USER}/{asked['name']}"
        prefix = "" if kind == "models" else f"{kind}/"
        answer = {"url": f"{self.hub.endpoint}/{prefix}{name}", "name": name}
        if (kind, name) in self.hub.repos:
            return self._json({**answer, "error": "You already created this repo"}, 409)
        repo = Repo(kind, name, asked.get("visibility") == "private")
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self.hub.repos[kind, name] = repo
        return self._json(answer)

    def _preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self._may_write() and self._find(kind, name, revision)
        if found:
            tree = found[1]
            files = [
                {
                    "path": path,
                    "uploadMode": "lfs" if is_lfs(path) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(path, tree[path]) if path in tree else None,
                }
                for path in (file["path"] for file in json.loads(body)["files"])
            ]
            self._json({"files": files})

    def _lfs_batch(self, body: bytes, kind: str | None, name: str) -> None:
        if not self._may_write():
            return
        objects = []
        for item in json.loads(body)["objects"]:
            if item["oid"] not in self.hub.large:
                upload = {"href": f"{self.hub.storage}/{item['oid']}?signature=secret"}
                verify = {"href": f"{self.hub.endpoint}/_lfs/verify"}
                item = {**item, "actions": {"upload": upload, "verify": verify}}
            objects.append(item)
        self._json({"transfer": "basic", "objects": objects})

    def _lfs_put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(400, "BadContent")
        self.hub.large[oid] = body
        return self._send(b"")

    def _lfs_verify(self, body: bytes) -> None:
        asked = json.loads(body)
        whole = len(self.hub.large.get(asked["oid"], b"")) == asked["size"]
        self._json({}, 200 if whole else 404)

    def _lfs_get(self, body: bytes, oid: str) -> None:
        self._send(self.hub.large[oid], ETag=f'"{oid}"')

    def _commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self._may_write() and self._find(kind, name, revision)
        if not found:
            return
        tree = dict(found[1])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                tree[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                tree.pop(value["path"])
        oid = self.hub.repos[kind, name].commit(tree)
        url = f"{self.hub.endpoint}/{name}/commit/{oid}"
        self._json({"success": True, "commitUrl": url, "commitOid": oid})

    def _info(self, body: bytes, kind: str, name: str, revision: str | None) -> None:
        found = self._find(kind, name, revision)
        if found:
            siblings = [{"rfilename": path} for path in found[1]]
            private = self.hub.repos[kind, name].private
            self._json(
                {"_id": "0", "id": name, "modelId": name, "sha": found[0], "private": private,
                 "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
                 "siblings": siblings, "lastModified": "2022-12-07T00:00:00.000Z"}
            )  # fmt: skip

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        }
        if is_lfs(path):
            oid = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        return entry

    def _tree(self, body: bytes, kind: str, name: str, revision: str, path: str | None) -> None:
        found = self._find(kind, name, revision)
        if found:
            inside = {p: c for p, c in found[1].items() if not path or p.startswith(f"{path}/")}
            if path and not inside:
                return self._error(404, "EntryNotFound")
            if self._is_recursive():
                return self._json([self._entry(*file) for file in inside.items()])
            self._json(self._children(inside, f"{path}/" if path else ""))
        return None

    def _is_recursive(self) -> bool:
        asked = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])
        return asked[0].lower() in ("true", "1")

    def _children(self, tree: dict[str, bytes], prefix: str) -> list[dict[str, Any]]:
        """Return the files and folders directly in a folder."""
        entries = {}
        for path, content in tree.items():
            name, slash, _ = path.removeprefix(prefix).partition("/")
            folder = {"type": "directory", "path": prefix + name, "size": 0, "oid": "0" * 40}
            entries[name] = folder if slash else self._entry(path, content)
        return list(entries.values())

    def _paths_info(self, body: bytes, kind: str, name: str, revision: str) -> None:
        found = self._find(kind, name, revision)
        if found:
            asked = self._asked_paths(body)
            self._json([self._entry(p, found[1][p]) for p in asked if p in found[1]])

    def _asked_paths(self, body: bytes) -> list[str]:
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return json.loads(body)["paths"]
        return parse_qs(body.decode())["paths"]

    def _resolve(self, body: bytes, kind: str | None, name: str, revision: str, path: str) -> None:
        found = self._find(kind, name, revision)
        if not found:
            return
        commit, tree = found
        if path not in tree:
            return self._json(
                {"error": "Entry not found"},
                404,
                X_Error_Code="EntryNotFound",
                X_Repo_Commit=commit,
            )
        content = tree[path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(path, content)}"'}
        if not is_lfs(path):
            return self._send(content, **headers)
        oid = _oid(path, content)
        return self._send(
            b"",
            302,
            **headers,
            Location=f"{self.hub.storage}/{oid}",
            X_Linked_ETag=f'"{oid}"',
            X_Linked_Size=str(len(content)),
        )
