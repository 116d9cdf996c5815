// Which file systems tell the holes of a file exactly.
#pragma once

namespace blockferry {

// The file is on one of this kernel's that answers SEEK_DATA by what a read would find, page cache and
// delayed allocation included: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs. Not where somebody else answers
// (NFS, SMB, Ceph, FUSE, a hypervisor's share), not layered ones, and not ZFS, which has been seen to tell
// holes where there was data.
bool has_exact_holes(int fd);

}  // namespace blockferry
