import { native } from './native.js'

export interface Capabilities {
  /** Disk requests can go through io_uring (it may still be forbidden at run time: then threads
   * serve them). */
  ioUring: boolean
  /** Migrations can be encrypted (`tls`): the addon was built with GnuTLS. */
  tls: boolean
}

/** What this build of the addon can do. */
export function capabilities (): Capabilities {
  return { ioUring: native.ioUring, tls: native.tls }
}
