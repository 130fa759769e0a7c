"""Where a registry must not lie: on a filesystem that several hosts share.

- SQLite's write-ahead log needs memory that all its users share, and locks that hold; over a
  network it has neither, and writers of two hosts would damage the file.
"""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb2",
        "smb3",
        "smbfs",
    }
)
_NETWORK_FUSE = ("ceph", "dav", "gcsfuse", "gluster", "rclone", "s3fs", "smbnetfs", "sshfs")
_OCTAL = re.compile(r"\\([0-7]{3})")


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the network filesystem that a path lies on.

    Args:
        path: May not be there yet.
        mounts: What /proc/self/mounts says; read when left out.

    Returns:
        For example `nfs4`; `None` for a local filesystem, or where the host does not tell.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="replace")
        except OSError:
            return None
    place = path.resolve()
    nearest, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[1]))
        # Of two mounted on the same point the later one is seen.
        if len(point.parts) >= nearest and place.is_relative_to(point):
            nearest, kind = len(point.parts), fields[2]
    fuse = kind.removeprefix("fuse.") if kind.startswith("fuse.") else ""
    is_network = kind in _NETWORK or any(fuse.startswith(name) for name in _NETWORK_FUSE)
    return kind if is_network else None
