"""Exports that people upload: each is stored in a folder, and staged by a process of its own."""

import asyncio
import os
import re
import secrets
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from sleepstage._utils.files import discard, stale, temporary_folder, write_json
from sleepstage.server import schemas
from sleepstage.server.middleware import SECURITY_HEADERS
from sleepstage.server.records import Grant
from sleepstage.server.routes import Id, Owner
from sleepstage.server.settings import Settings

_UPLOAD, _RESULTS, _RECORD, _LOG = "upload", "nights", "export.json", "log.txt"
_UNSAFE: Final = re.compile(r"^[. ]+|[. ]+$|[^\w. ()-]")
_LONGEST: Final = 60  # characters of a name, of up to four bytes
_MOST: Final = 20  # exports of one owner
_SPARE: Final = 2**30  # bytes of the disk that are left to the store
_PATIENCE: Final = 10.0  # s for a process to end in order
_SWEEP_SECONDS: Final = 3600.0
_REFUSED: Final = (401, 403, 404, 408, 409, 413, 422, 503, 507)
_REFUSALS: Final[dict[int | str, Any]] = dict.fromkeys(_REFUSED, schemas.PROBLEM)
_FULL: Final = "the server's disk has no room for it, and nothing is kept: make room, and try again"
_LOST: Final = "the server that had it was stopped, or is another one: delete it, and try again"
_STYLED: Final = SECURITY_HEADERS["Content-Security-Policy"].replace(
    "style-src 'self'",
    "style-src 'unsafe-inline'",  # of an overview
)
# A process that ends with its standard input, as the server does, and lets live nights go first.
_SCORE: Final = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
getattr(os, "nice", int)(10)
from sleepstage.cli import main
main(prog_name="sleepstage")
"""


class Export(BaseModel):
    """A file that was uploaded, and what came of it."""

    id: str
    owner: str
    name: str
    created: float
    state: Literal["waiting", "staging", "done", "failed"] = "waiting"
    messages: list[str] = Field([], description="What could not be staged or used, and why.")
    nights: list[str] = Field([], description="Staged so far: files/{night}/summary.json.")


class Exports:
    """All exports of this server and, as `router`, the HTTP interface to them."""

    def __init__(self, settings: Settings) -> None:
        folder = "~/.sleepstage" if "://" in settings.store else settings.store
        self._root = Path(folder).expanduser() / "exports"
        self._keep = 24 * 3600 * settings.keep_days
        self._turn = asyncio.Lock()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self.router = APIRouter(prefix="/v1/exports", responses=_REFUSALS)
        add, one = self.router.add_api_route, "/{export_id}"
        add("", self.upload, methods=["POST"], status_code=201, openapi_extra=schemas.EXPORT_BODY)
        add("", self.list_all)
        add("", self.delete_all, methods=["DELETE"], status_code=204)
        add(one, self.show)
        add(one, self.delete, methods=["DELETE"], status_code=204)
        add(f"{one}/files/{{path:path}}", self.show_file, include_in_schema=False)

    async def run(self) -> None:
        """Remove what is as old as nights may be; cancelled, stop whatever is under way."""
        async with asyncio.TaskGroup() as self._group:
            while True:
                for left in stale(self._root):
                    discard(left)
                for export in self._of(None):
                    if export.created < time.time() - self._keep:
                        await self._remove(export)
                await asyncio.sleep(_SWEEP_SECONDS)

    async def upload(
        self,
        name: Annotated[str, Query(min_length=1, max_length=1000, description="Of the file.")],
        request: Request,
        visitor: Owner,
    ) -> Export:
        """Upload a file that ``sleepstage score`` takes, and have every night in it staged.

        The file is deleted once they are.
        """
        if len(self._of(visitor.owner)) >= _MOST:
            raise HTTPException(409, f"you have {_MOST} exports here: delete one, and try again")
        name = _UNSAFE.sub("_", name.split("/")[-1][-_LONGEST:]) or "_"
        key = secrets.token_hex(16)
        export = Export(id=key, owner=visitor.owner, name=name, created=time.time())
        try:
            with temporary_folder(self._root) as new:
                free = shutil.disk_usage(new).free - _SPARE
                if int(request.headers.get("content-length", 0)) > free:
                    raise HTTPException(507, _FULL)
                (new / _UPLOAD).mkdir()
                with (new / _UPLOAD / name).open("xb") as file:
                    async for piece in request.stream():
                        await asyncio.to_thread(file.write, piece)
                write_json(new / _RECORD, export.model_dump())
                new.rename(self._root / key)
        except OSError as error:
            raise HTTPException(507, f"{_FULL} ({error.strerror})") from error
        self._jobs[key] = job = self._group.create_task(self._stage(export))
        job.add_done_callback(lambda _: self._jobs.pop(key, None))
        return export

    async def list_all(self, visitor: Owner) -> list[Export]:
        """Your exports, newest first, without their messages and nights."""
        return self._of(visitor.owner)

    async def show(self, export_id: Id, visitor: Owner) -> Export:
        """Show an export, the nights of it that are staged so far, and what failed."""
        export = self._own(visitor, export_id)
        folder = self._root / export.id
        export.nights = sorted(one.parent.name for one in folder.glob(f"{_RESULTS}/*/summary.json"))
        with suppress(OSError):
            log = (folder / _LOG).read_text("utf-8", errors="replace")
            export.messages += log.replace(f"{_UPLOAD}{os.sep}", "").splitlines()
        return export

    async def delete(self, export_id: Id, visitor: Owner) -> None:
        """Stop the staging of an export, and delete everything of it."""
        await self._remove(self._own(visitor, export_id))

    async def delete_all(self, visitor: Owner) -> None:
        """Delete all your exports; your sessions stay, as exports do where those are deleted."""
        for export in self._of(visitor.owner):
            await self._remove(export)

    async def show_file(self, export_id: Id, path: str, visitor: Owner) -> FileResponse:
        """Give a result: ``index.html``, ``nights.csv``, or a file of a night."""
        results = (self._root / self._own(visitor, export_id).id / _RESULTS).resolve()
        with suppress(OSError, ValueError):
            file = (results / path).resolve(strict=True)
            if file.is_file() and file.is_relative_to(results):
                return FileResponse(file, headers={"Content-Security-Policy": _STYLED})
        raise HTTPException(404, "there is no such file")

    def _of(self, owner: str | None) -> list[Export]:
        found = []
        for file in self._root.glob(f"*/{_RECORD}"):
            with suppress(OSError, ValueError):  # it is being deleted, or damaged
                export = Export.model_validate_json(file.read_bytes())
                if export.id == next(iter(self._jobs), ""):  # they come to their turn in order
                    export.state = "staging"
                elif export.state == "waiting" and export.id not in self._jobs:
                    export.state, export.messages = "failed", [_LOST]
                if owner in {None, export.owner}:
                    found.append(export)
        return sorted(found, key=lambda one: -one.created)

    def _own(self, visitor: Grant, export_id: str) -> Export:
        for export in self._of(visitor.owner):
            if export.id == export_id:
                return export
        raise HTTPException(404, "there is no such export")

    async def _remove(self, export: Export) -> None:
        if (job := self._jobs.pop(export.id, None)) is not None:
            job.cancel()
            await asyncio.wait([job])
        await asyncio.to_thread(shutil.rmtree, self._root / export.id, ignore_errors=True)

    async def _stage(self, export: Export) -> None:
        folder = self._root / export.id
        with suppress(OSError):  # of a full disk: an export without an end has failed
            async with self._turn:
                status = await _score(folder, export.name)
            shutil.rmtree(folder / _UPLOAD)
            export.state = "done" if status in {0, 3} else "failed"  # 3: all but some
            write_json(folder / _RECORD, export.model_dump())


async def _score(folder: Path, name: str) -> int:
    """Run ``sleepstage score`` in a folder, and give its status; cancelled, end it."""
    # Modules come from where those of this process do, never from what was uploaded.
    paths = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONSAFEPATH": "1"}
    with (folder / _LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SCORE, "score", f"{_UPLOAD}/{name}", "--out", _RESULTS),
            cwd=folder,
            env=os.environ | paths,
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=log,
            start_new_session=True,  # Ctrl+C is for the server
        )
    try:
        return await process.wait()
    finally:
        with suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), _PATIENCE)
        if process.returncode is None:
            process.kill()
            await process.wait()
