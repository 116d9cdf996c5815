// The system packages that blockferry needs, by purpose, with what shows that each is there.
// The names are Debian's and Ubuntu's.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { hasCommand, hasLibrary } from './support.mjs'

const packages = {
  build: [
    { name: 'g++', command: 'g++' },
    { name: 'make', command: 'make' },
    { name: 'python3', command: 'python3' },
    { name: 'pkg-config', command: 'pkg-config' },
    { name: 'libgnutls28-dev', library: 'gnutls' },
    { name: 'liburing-dev', library: 'liburing' },
    { name: 'libxxhash-dev', library: 'libxxhash' },
    { name: 'libzstd-dev', library: 'libzstd' }
  ],
  test: [
    { name: 'bind9', command: 'named' },
    { name: 'bind9-dnsutils', command: 'nsupdate' },
    { name: 'clang', command: 'clang++' },
    { name: 'libclang-rt-dev', isThere: hasFuzzer },
    { name: 'clang-format', command: 'clang-format' },
    { name: 'cmake', command: 'cmake' },
    { name: 'conntrack', command: 'conntrack' },
    { name: 'dmsetup', command: 'dmsetup' },
    { name: 'e2fsprogs', command: 'mkfs.ext4' },
    { name: 'faketime', command: 'faketime' },
    { name: 'fio', command: 'fio' },
    { name: 'gnutls-bin', command: 'certtool' },
    { name: 'iproute2', command: 'ip' },
    { name: 'libbpf-dev', library: 'libbpf' },
    { name: 'libdevmapper-dev', library: 'devmapper' },
    { name: 'libnbd-bin', command: 'nbdcopy' },
    { name: 'mount', command: 'losetup' },
    { name: 'nbd-client', command: 'nbd-client' },
    { name: 'nbdkit', command: 'nbdkit' },
    { name: 'nftables', command: 'nft' },
    { name: 'ninja-build', command: 'ninja' },
    { name: 'openssl', command: 'openssl' },
    { name: 'spin', command: 'spin' },
    { name: 'qemu-utils', command: 'qemu-io' },
    { name: 'qemu-system-common', command: 'qemu-storage-daemon' },
    { name: 'wireguard-tools', command: 'wg' },
    { name: 'xz-utils', command: 'xz' }
  ],
  bench: [{ name: 'rsync', command: 'rsync' }],
  // For a machine that moves. QEMU itself and what the guest holds are unpacked privately.
  vm: [
    { name: 'g++', command: 'cc' },
    { name: 'e2fsprogs', command: 'mkfs.ext4' },
    { name: 'iproute2', command: 'ip' },
    { name: 'qemu-utils', command: 'qemu-nbd' }
  ]
}

function isThere ({ command, library, isThere = () => hasLibrary(library) }) {
  return command ? hasCommand(command) : isThere()
}

/** Whether there is a clang, with libFuzzer and the sanitizers. */
export function hasFuzzer () {
  const question = ['--rtlib=compiler-rt', '-print-libgcc-file-name']
  const { status, stdout } = spawnSync('clang++', question, { encoding: 'utf8' })
  return status === 0 && existsSync(stdout.trim())
}

/** The names of the packages for these purposes ('build', 'test', 'bench', 'vm') that are not there. */
export function missingPackages (purposes) {
  return purposes
    .flatMap((purpose) => packages[purpose])
    .filter((entry) => !isThere(entry))
    .map((entry) => entry.name)
}
