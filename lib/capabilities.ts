import { native } from './native.js'

export interface Capabilities {
  /** Disk requests can go through io_uring (it may still be forbidden at run time: then threads
   * serve them). */
  ioUring: boolean
}

/** What this build of the addon can do. */
export function capabilities (): Capabilities {
  return { ioUring: native.ioUring }
}
