"""``points24 protocol``: list and show the protocols; make the paper's in its original wording."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from points24.harness.cli import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    sub = commands.add_parser("list", help="the protocols that come with the package")
    sub.set_defaults(action=_list)
    sub = commands.add_parser("show", help="a protocol's prompts, and its settings")
    sub.add_argument("protocol", help="a name, or a protocol folder")
    sub.set_defaults(action=_show)
    about = "make a protocol folder with the paper's own wording from a clone of its repository"
    sub = commands.add_parser("import", help=about, description=f"{about}; its code is read, never run")
    sub.add_argument("clone", type=Path, help="the folder of the clone")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="a new folder")
    sub.set_defaults(action=_import)


def _run(args: argparse.Namespace) -> int:
    args.action(args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from points24.tasks.protocols.protocol import PROTOCOLS, read_protocol

    for name in PROTOCOLS:
        protocol = read_protocol(name)
        print(f"{name:10} sha256 {protocol.digest[:12]}  {protocol.about}")


def _show(args: argparse.Namespace) -> None:
    from points24.tasks.protocols.protocol import read_protocol
    from points24.tasks.protocols.reference import rendered

    protocol = read_protocol(args.protocol)
    for rule, prompt in rendered(protocol):
        print(f"--- prompt, rule {rule}\n{prompt}")
    print(f"--- settings, sha256 {protocol.digest}\n{protocol.settings_text()}", end="")


def _import(args: argparse.Namespace) -> None:
    from points24.harness.files import new_folder
    from points24.tasks.protocols.protocol import PROMPT, REPLY, SETTINGS
    from points24.tasks.protocols.reference import read_reference, rendered

    found = read_reference(args.clone)
    protocol = found.protocol
    texts = {
        SETTINGS: protocol.settings_text(),
        PROMPT: protocol.prompt_source,
        REPLY: protocol.reply_source or "",
        **{f"example_{rule}.txt": prompt for rule, prompt in rendered(protocol)},
    }
    with new_folder(args.output) as folder:
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
    for part in found.parts:
        known = "known" if part.is_known else "unknown"
        print(f"{part.name:20} sha256 {part.digest[:12]}  {known:7}  from {part.source}")
    unknown = [part.name for part in found.parts if not part.is_known]
    if unknown:
        print(f"points24: not the wording that we know: {', '.join(unknown)}", file=sys.stderr)
    print(f"{args.output}: protocol {protocol.name}, sha256 {protocol.digest}")


protocol = Command(
    "list, show and import protocols: how deals are asked and replies judged", _arguments, _run
)
