import { native } from '../native/addon.js'

export interface Capabilities {
  /** Disk requests can go through io_uring (it may still be forbidden at run time: then threads
   * serve them). */
  ioUring: boolean
  /** Migrations can be encrypted (`tls`): the addon was built with GnuTLS. */
  tls: boolean
  /** Taps can be attached to running devices by eBPF (`tap: 'bpf'`): the addon was built with clang and
   * libbpf. Whether this kernel and this device allow it: probe(). */
  bpf: boolean
  /** Taps can be put under running devices of device-mapper (`tap: 'dm'`): the addon was built with
   * libdevmapper. Whether this kernel and this device allow it: probe(). */
  dm: boolean
}

/** What this build of the addon can do. */
export function capabilities (): Capabilities {
  return { ioUring: native.ioUring, tls: native.tls, bpf: native.bpf, dm: native.dm }
}
