"""The HTTP side of the loopback Hub: one method per endpoint of the real one's API."""

import base64
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback_card import check_card
from tests.loopback_repo import CHUNK, Blob, folder_entry, is_lfs

LONG_AGO = "2026-01-01T00:00:00.000Z"
_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
_PAGE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
_ENDPOINTS = []


class Refusal(Exception):
    """An answer that is an error: status, the Hub's code for it ("" where it gives none), text."""

    def __init__(self, status: int, code: str, message: str, **headers: str):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message, **headers}
        if code:
            self.headers["X-Error-Code"] = code
        if status == 401:
            self.headers["WWW-Authenticate"] = 'Bearer realm="Authentication required"'
        if status == 500:
            self.headers["Retry-After"] = "0"  # huggingface_hub then waits 1 s, not up to 8


def endpoint(method: str, path: str, writes: bool = False):
    """Make a method of the handler answer a path; it gets `kind` and `repo_id` as one `repo`."""

    def register(function):
        _ENDPOINTS.append((method, re.compile(path), writes, function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """Answers one client; `server.hub` holds everything that outlives a request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # status line and headers leave together

    def log_message(self, *arguments):
        """Say nothing on stderr."""

    def answer(self):
        url = urlsplit(self.path)
        self.hub = self.server.hub
        self.query = parse_qs(url.query)
        self.chunks = self.read_chunks()
        self.hub.requests.append((self.command, unquote(url.path)))
        method = "GET" if self.command == "HEAD" else self.command
        try:
            for its_method, path, writes, function in _ENDPOINTS:
                if its_method == method and (match := path.fullmatch(url.path)):
                    names = {
                        name: part and unquote(part) for name, part in match.groupdict().items()
                    }
                    function(self, **self.admit(writes, **names))
                    return
            raise Refusal(404, "", f"Sorry, we can't find the page {url.path}")
        except Refusal as refusal:
            self.send({"error": refusal.message}, refusal.status, refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def admit(self, writes, **names):
        """Check the token against what is asked for; put a Repo in the place of its name."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.user = self.hub.tokens.get(token)
        if token and self.user is None:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        if "repo_id" not in names:
            if writes:
                self.require_user()
            return names
        kind = (names.pop("kind") or "models").removesuffix("s")
        repo = self.hub.repos.get((kind, names.pop("repo_id")))
        hidden = repo is None or (repo.private and self.user != repo.owner)
        if hidden or writes:
            # The real Hub sends no code here: its clients take a plain 401 from an https:// address
            # for a missing repository. From http:// they do not: ours says what they conclude.
            self.require_user("RepoNotFound")
        if hidden:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if writes:
            self.require_owner(repo.owner)
        return {"repo": repo, **names}

    def require_user(self, code=""):
        if self.user is None:
            raise Refusal(401, code, "Invalid username or password.")

    def require_owner(self, namespace):
        if self.user != namespace:
            raise Refusal(403, "", f"You don't have the rights to write to {namespace}")

    def require_commit(self, repo, revision):
        commit_id = repo.find(revision)
        if commit_id is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit_id

    def read_chunks(self):
        """The request's body, piece by piece."""
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionAbortedError("the client left in the middle of a body")
            left -= len(chunk)
            yield chunk

    def read_body(self):
        return b"".join(self.chunks)

    def send(self, content, status=200, headers=None):
        body = json.dumps(content).encode()
        self.send_head(status, {"Content-Type": "application/json", **(headers or {})}, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status, headers, length):
        for _ in self.chunks:  # what an endpoint left unread would be taken for the next request
            pass
        self.send_response(status)
        for name, value in {**headers, "Content-Length": length}.items():
            self.send_header(name, str(value))
        self.end_headers()

    # Accounts, cards, new repositories

    @endpoint("GET", "/api/whoami-v2")
    def whoami(self):
        self.require_user()
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        name = {"name": self.user, "fullname": self.user}
        self.send({"type": "user", **name, "orgs": [], "auth": access})

    @endpoint("POST", "/api/validate-yaml")
    def validate_card(self):
        errors, warnings = check_card(json.loads(self.read_body())["content"])
        found = {"errors": errors, "warnings": warnings}
        answer = {kind: [{"message": text} for text in texts] for kind, texts in found.items()}
        self.send(answer, 400 if errors else 200)

    @endpoint("POST", "/api/repos/create", writes=True)
    def create_repo(self):
        wanted = json.loads(self.read_body())
        kind, owner = wanted.get("type") or "model", wanted.get("organization") or self.user
        self.require_owner(owner)
        repo_id = f"{owner}/{wanted['name']}"
        page = f"{self.hub.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
        answer = {"url": page, "name": repo_id}
        if (kind, repo_id) in self.hub.repos:
            self.send({**answer, "error": f"You already created this {kind} repo"}, 409)
            return
        # huggingface_hub 1 says private, 2 says visibility.
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.create_repo(kind, repo_id, bool(private))
        self.send(answer)

    # Reading

    @endpoint("GET", rf"{_API}(?:/revision/{_REVISION})?")
    def info(self, repo, revision):
        commit_id = self.require_commit(repo, revision or "main")
        files = sorted(repo.commits[commit_id].items())
        siblings = [
            {"rfilename": path, **(blob.as_sibling() if "blobs" in self.query else {})}
            for path, blob in files
        ]
        about = {"_id": "0", "id": repo.repo_id, "sha": commit_id, "private": repo.private}
        about |= {"gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        about |= {"author": repo.owner, "lastModified": LONG_AGO, "createdAt": LONG_AGO}
        self.send({**about, "siblings": siblings})

    @endpoint("GET", rf"{_API}/refs")
    def refs(self, repo):
        folders = {"branches": (repo.branches, "heads"), "tags": (repo.tags, "tags")}
        answer = {"converts": [], "pullRequests": []}
        for kind, (refs, folder) in folders.items():
            answer[kind] = [
                {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit_id}
                for name, commit_id in refs.items()
            ]
        self.send(answer)

    @endpoint("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<folder>.+))?")
    def tree(self, repo, revision, folder):
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        commit_id = self.require_commit(repo, revision)
        listing = repo.listing(commit_id, (folder or "").rstrip("/"), recursive)
        if folder and not listing:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        self.send(listing)

    @endpoint("POST", rf"{_API}/paths-info/{_REVISION}")
    def paths_info(self, repo, revision):
        files = repo.commits[self.require_commit(repo, revision)]
        wanted = parse_qs(self.read_body().decode()).get("paths", [])
        found = [{"type": "file", "path": p, **files[p].as_entry()} for p in wanted if p in files]
        found += [folder_entry(p) for p in wanted if any(f.startswith(f"{p}/") for f in files)]
        self.send(found)

    @endpoint("GET", rf"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)")
    def resolve(self, repo, revision, path):
        commit_id = self.require_commit(repo, revision)
        headers = {"X-Repo-Commit": commit_id}
        blob = repo.commits[commit_id].get(path)
        if blob is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", **headers)
        headers |= {"ETag": f'"{blob.etag}"', "Content-Type": "application/octet-stream"}
        self.send_file(blob, headers | {"Accept-Ranges": "bytes"})

    def send_file(self, blob, headers):
        """The file, or the one range of it that the request names."""
        start, stop, status = 0, blob.size, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "bytes=-")
        first, last = asked.groups()
        if first or last:
            start = int(first) if first else max(0, blob.size - int(last))
            stop = min(blob.size, int(last) + 1) if first and last else blob.size
            if start >= stop:
                self.send_head(416, {"Content-Range": f"bytes */{blob.size}"}, 0)
                return
            status = 206
            headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{blob.size}"}
        self.send_head(status, headers, stop - start)
        if self.command == "HEAD":
            return
        self.wfile.flush()
        cut = self.hub.take_cut(stop - start)
        length = stop - start if cut is None else cut
        if length:
            with blob.path.open("rb") as file:
                self.connection.sendfile(file, start, length)
        if cut is not None:
            raise ConnectionAbortedError("a test wants this download to break off")

    # Writing

    @endpoint("POST", rf"{_API}/branch/(?P<branch>[^/]+)", writes=True)
    def create_branch(self, repo, branch):
        start = json.loads(self.read_body()).get("startingPoint") or "main"
        self.add_ref(repo.branches, branch, self.require_commit(repo, start))

    @endpoint("POST", rf"{_API}/tag/{_REVISION}", writes=True)
    def create_tag(self, repo, revision):
        tag = json.loads(self.read_body())["tag"]
        self.add_ref(repo.tags, tag, self.require_commit(repo, revision))

    def add_ref(self, refs, name, commit_id):
        if name in refs:
            raise Refusal(409, "", f"Reference already exists: {name}")
        refs[name] = commit_id
        self.send({})

    @endpoint("POST", rf"{_API}/preupload/{_REVISION}", writes=True)
    def preupload(self, repo, revision):
        files = repo.commits[self.require_commit(repo, revision)]
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_lfs(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                # The client leaves what it has unchanged out of its commit.
                "oid": files[file["path"]].etag if file["path"] in files else None,
            }
            for file in json.loads(self.read_body())["files"]
        ]
        self.send({"files": answers})

    @endpoint("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", writes=True)
    def lfs_batch(self, repo):
        answers = []
        for wanted in json.loads(self.read_body())["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if not self.hub.store.path(wanted["oid"]).exists():
                answer["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}
            answers.append(answer)
        self.send({"transfer": "basic", "objects": answers})

    @endpoint("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})")
    def lfs_upload(self, sha256):
        self.hub.admit_upload()
        if self.hub.store.write(self.chunks) != sha256:
            raise Refusal(400, "", "the body's sha256 is not the one in the address")
        self.send({})

    @endpoint("POST", rf"{_API}/commit/{_REVISION}", writes=True)
    def commit(self, repo, revision):
        if revision not in repo.branches:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        head = repo.branches[revision]
        files = dict(repo.commits[head])
        for line in self.read_body().splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key != "header":
                self.apply(key, value, files)
            elif value.get("parentCommit", head) != head:
                raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
        commit_id = repo.commit(files, revision)
        page = f"{self.hub.url}/{repo.repo_id}/commit/{commit_id}"
        self.send({"success": True, "commitOid": commit_id, "commitUrl": page})

    def apply(self, key, value, files):
        """Change the files of a commit as one line of its payload says."""
        path = value["path"]
        if key == "file":
            files[path] = self.hub.keep(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            body = self.hub.store.path(value["oid"])
            if not body.exists():
                raise Refusal(400, "", f"{path} was not uploaded before the commit")
            files[path] = Blob(body, lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        elif key == "deletedFolder":
            for inside in [p for p in files if p.startswith(path.rstrip("/") + "/")]:
                del files[inside]
        else:
            raise Refusal(400, "", f"this Hub knows no commit operation {key}")
