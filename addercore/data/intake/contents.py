"""What an archive holds, by its names alone: read once before anything in it is."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from addercore.data.intake.archives import Archive, Member
from addercore.data.intake.images import BadImage
from addercore.data.intake.limits import Limits
from addercore.data.intake.names import Names, Parts, parts_of, system_file, written_note
from addercore.data.intake.problems import listed, refuse

Between = Callable[[], None]
"""Called now and then; raises Stopped where the reading is to end."""


class Contents:
    """An archive's files under the names that people gave them, without what is no part of a dataset."""

    def __init__(self, archive: Archive, limits: Limits, between: Between) -> None:
        """Goes through all names once. Raises BadDataset for an archive that is empty or has names that lead out."""
        self._archive, self.limits = archive, limits
        found: dict[bytes, str | None] = {}
        for member, _ in archive.members():
            between()
            if member.raw in found:
                raise refuse(f"The archive has two files {member.raw.decode('utf-8', 'replace')!r}. Remove one.")
            found[member.raw] = member.declared
            if len(found) > limits.entries:
                raise refuse(f"The archive has more than {limits.entries:,} files, the most that are taken.")
        folders = archive.folders()
        names = Names(raw for raw, declared in [*found.items(), *folders] if declared is None)
        self.notes = names.notes
        self.written: list[str] = []
        """Names of the texts and tables that are left out."""
        self.files: dict[str, Parts] = {}
        """Key of each file → its folders and name."""
        self._keys: dict[bytes, str] = {}
        self._choose(found, names)
        inside = [parts_of(names.text(*folder)) for folder in folders]
        self.folders = [parts for parts in inside if parts and not system_file(parts)]
        if not self.files:
            raise refuse(self._nothing())

    def _choose(self, found: dict[bytes, str | None], names: Names) -> None:
        texts = {raw: names.text(raw, declared) for raw, declared in found.items()}
        times = Counter(texts.values())
        system = []
        for raw, text in texts.items():
            parts = parts_of(text)
            if not parts or system_file(parts):
                system.append(text)
            elif written_note(parts):
                self.written.append(text)
            else:
                # Two names may differ in their normal form alone, as one folder packed on two systems has them.
                key = text if times[text] == 1 else raw.decode("utf-8", "replace")
                self.files[key] = parts
                self._keys[raw] = key
        if system:
            self.notes.append(f"Left out, as operating systems and tools leave them: {listed(sorted(system))}.")
        self.written.sort()
        if self.written:
            self.notes.append(f"Left out, as they are texts and tables: {listed(self.written)}.")

    def _nothing(self) -> str:
        """Why an archive without a file of a dataset is refused."""
        if not self.written:
            return "The archive is empty."
        return (
            f"The archive has no images, only texts and tables: {listed(self.written)}. Of a table of pixels make an "
            ".npz, np.savez('mine.npz', images=…, labels=…), and upload that; pack images in a folder for each class."
        )

    def members(self) -> Iterator[tuple[str, Member, float]]:
        """Key and content of each file, to be read before the next one is asked for, and how far this is (0…1)."""
        for member, done in self._archive.members():
            key = self._keys.get(member.raw)
            if key is not None:
                yield key, member, done

    def extract(self, places: dict[str, Path], between: Between) -> None:
        """Writes the files with these keys to the places given, under names of ours."""
        for key, member, _ in self.members():
            if key not in places:
                continue
            with places[key].open("wb") as file:
                try:
                    for piece in member.pieces():
                        between()
                        file.write(piece)
                except BadImage as error:
                    raise refuse(f"{key} {error}. Pack the file again, or download it again.") from None
