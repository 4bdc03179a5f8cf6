"""New bags, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from perception.errors import PerceptionError
from perception_ros.bags.messages import BagMessages

STORAGES = ("mcap", "sqlite3")
PART = ".part"


class BagWriter:
    """Writes messages by topic; the folder ``path`` appears when the block ends without an exception."""

    def __init__(self, path: str | Path, messages: BagMessages, storage: str = "mcap") -> None:
        self.path, self.messages = Path(path), messages
        if self.path.exists():
            raise PerceptionError(f"{self.path} exists already", "the name of a new bag", "remove it, or take another")
        if not self.path.absolute().parent.is_dir():
            raise PerceptionError(f"no folder {self.path.absolute().parent}", "a folder to write into", "create it")
        if storage not in STORAGES:
            raise PerceptionError(f"storage {storage!r}", f"one of {', '.join(STORAGES)}")
        self._part = self.path.with_name(self.path.name + PART)
        shutil.rmtree(self._part, ignore_errors=True)  # of a run that was killed
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._writer = Writer(self._part, version=9, storage_plugin=StoragePlugin[storage.upper()])
        self._connections: dict[str, Any] = {}
        self._types: dict[str, str] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def write(self, topic: str, type_name: str, time: int, message: Any) -> None:
        """A message that was, or would have been, received at ``time`` (ns)."""
        if topic not in self._connections:
            store = self.messages.store
            self._connections[topic] = self._writer.add_connection(topic, type_name, typestore=store)
            self._types[topic] = type_name
        raw = self.messages.store.serialize_cdr(message, type_name)
        self._writer.write(self._connections[topic], time, raw)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is not None:
            shutil.rmtree(self._part, ignore_errors=True)
            return
        name, part = self.path.name, self._part.name
        for file in self._part.iterdir():  # the files are called as the folder was when they were made
            if file.name.startswith(part):
                file.rename(file.with_name(name + file.name.removeprefix(part)))
        metadata = self._part / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace(part, name))
        self._part.rename(self.path)
