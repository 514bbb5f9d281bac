"""The credential zip: one folder named after the bay, the private key readable by its owner alone once unpacked."""

import io
import stat
import zipfile
from collections.abc import Mapping

_PRIVATE = frozenset({"key.pem"})
_UNIX = 3
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_zip(*, bay: str, files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip with `files` in a folder `<bay>/`: same input, same bytes. `key.pem` gets mode 0600, the rest 0644.

    Raises ValueError for a bay or file name that would leave the folder.
    """
    for name in (bay, *files):
        if not name or name in {".", ".."} or any(sign in name for sign in "/\\:\0"):
            raise ValueError(f"{name!r} cannot be a name in a bundle: it must be a plain file name.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(path=f"{bay}/", mode=stat.S_IFDIR | 0o755), b"")
        for name in sorted(files):
            content = files[name]
            mode = stat.S_IFREG | (0o600 if name in _PRIVATE else 0o644)
            archive.writestr(_entry(path=f"{bay}/{name}", mode=mode), content.encode() if isinstance(content, str) else content)
    return buffer.getvalue()


def _entry(*, path: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, date_time=_EPOCH)
    entry.create_system = _UNIX
    entry.external_attr = mode << 16
    if path.endswith("/"):
        entry.external_attr |= 0x10  # the MS-DOS directory bit, for unpackers that know no Unix modes
    else:
        entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
